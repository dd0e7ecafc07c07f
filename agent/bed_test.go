package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iotagent/agent"
	"iotagent/hubsim"
	"iotagent/internal/clock"
	"iotagent/iothub"
	"iotagent/iothub/sas"
	"iotagent/iothub/transport"
	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
	"iotagent/sensors"
)

// bed is an agent, a hub and what lies between them, in memory and in virtual time: every test runs inside a synctest bubble.
type bed struct {
	t      *testing.T
	hub    *hubsim.Server
	device sas.ConnectionString
	queue  outbox.Queue
	o      agent.Options
	dials  atomic.Int64
	// skew in nanoseconds is added to the device's wall clock.
	skew atomic.Int64
	key  atomic.Pointer[sas.Key]
}

// wall is a clock that is right in virtual time, which begins in the year 2000.
func wall() time.Time { return time.Now().UTC().AddDate(26, 10, 0) }

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, queue: outboxtest.NewMemory(0xabc)}
	hub, err := hubsim.New(&hubsim.Options{Now: wall, FeedbackDelay: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
	b.hub = hub
	if b.device, err = hub.AddDevice("pi-17"); err != nil {
		t.Fatal(err)
	}
	b.key.Store(&b.device.Key)
	b.o = agent.Options{
		Queue: b.queue, Dial: b.dial, Clock: b.clock(), Drain: 10 * time.Second,
		Pack:   agent.PackOptions{MaxLoss: 10 * time.Second},
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return b
}

func (b *bed) now() time.Time { return wall().Add(time.Duration(b.skew.Load())) }

func (b *bed) clock() *clock.Clock {
	start := time.Now()
	return clock.NewWith("boot", b.now, func() time.Duration { return time.Since(start) })
}

func (b *bed) dial(ctx context.Context) (*iothub.Client, error) {
	b.dials.Add(1)
	return iothub.Dial(ctx, &iothub.Options{
		Host: "localhost", DeviceID: "pi-17", Key: *b.key.Load(), Now: b.now, Ordered: true,
		Dial: func(ctx context.Context, _ transport.Endpoint) (net.Conn, error) { return b.hub.Dial(ctx) },
	})
}

// run starts Run and returns a function that stops it and waits.
func (b *bed) run() (a *agent.Agent, stop func() error) {
	a = agent.New(&b.o)
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return a, sync.OnceValue(func() error {
		cancel()
		return <-done
	})
}

// put queues n small messages and returns their ids.
func (b *bed) put(n int) []string {
	b.t.Helper()
	var ids []string
	for i := range n {
		got, err := agent.PutAll(b.t.Context(), b.queue, b.now(), []agent.PutMessage{{Body: fmt.Appendf(nil, `{"n":%d}`, i)}})
		if err != nil {
			b.t.Fatal(err)
		}
		ids = append(ids, got...)
	}
	return ids
}

// until waits for a condition of the hub within virtual d.
func (b *bed) until(d time.Duration, what string, cond func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	if err := b.hub.WaitFor(ctx, cond); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// received returns the message-ids at the hub in order of arrival, first arrivals only, and how many came again.
func (b *bed) received() (ids []string, again int) {
	seen := map[string]bool{}
	for _, e := range b.hub.Events() {
		if seen[e.MessageID] {
			again++
			continue
		}
		seen[e.MessageID] = true
		ids = append(ids, e.MessageID)
	}
	return ids, again
}

func (b *bed) wantAll(ids []string) {
	b.t.Helper()
	got, _ := b.received()
	slices.Sort(got)
	ids = slices.Sorted(slices.Values(ids))
	if !slices.Equal(got, ids) {
		b.t.Errorf("the hub has %d of %d messages", len(got), len(ids))
	}
}

// fakeSensor gives a rising value each second.
type fakeSensor struct {
	name  string
	clock *clock.Clock
	n     int
	fail  error
}

func (f *fakeSensor) Name() string { return f.name }

func (f *fakeSensor) Once(context.Context) (sensors.Reading, time.Duration) {
	f.n++
	r := sensors.Reading{Sensor: f.name, At: f.clock.Stamp(), Quality: sensors.Good}
	if f.fail != nil {
		r.Quality, r.Reason = sensors.Failed, f.fail.Error()
		return r, 0
	}
	r.Samples = []sensors.Sample{{Name: "temperature_celsius", Value: float64(f.n) / 2}}
	return r, time.Millisecond
}

func (f *fakeSensor) Run(ctx context.Context, emit func(sensors.Reading)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r, _ := f.Once(ctx)
			emit(r)
		}
	}
}

func (f *fakeSensor) Status() sensors.Status { return sensors.Status{Name: f.name, Type: "fake"} }

func outboxMemory() outbox.Queue { return outboxtest.NewMemory(1) }
