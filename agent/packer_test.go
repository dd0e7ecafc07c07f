package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/agent"
	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
	"iotagent/sensors"
)

// slowDisk is an outbox that notes what it is given, takes its time for durable messages, and fails as it is told.
type slowDisk struct {
	*outboxtest.Memory
	fsync time.Duration

	mu   sync.Mutex
	full error
	got  []note
}

// note is what matters of a put.
type note struct {
	Lane     outbox.Lane
	Durable  bool
	Age      time.Duration
	Readings int
}

func (d *slowDisk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = err
}

func (d *slowDisk) Put(ctx context.Context, ms ...outbox.Message) ([]outbox.ID, error) {
	d.mu.Lock()
	err := d.full
	if err == nil || errors.Is(err, outbox.ErrNotDurable) {
		for _, m := range ms {
			d.got = append(d.got, note{m.Lane, m.Durable, m.Age, m.Readings})
		}
	}
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, m := range ms {
		if m.Durable {
			time.Sleep(d.fsync)
		}
	}
	return d.Memory.Put(ctx, ms...)
}

func (d *slowDisk) notes() []note {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]note{}, d.got...)
}

// packerBed runs a packer in virtual time.
type packerBed struct {
	agent.Packer
	t     *testing.T
	disk  *slowDisk
	clock *clock.Clock
	log   *strings.Builder
	done  chan struct{}
}

func newPackerBed(t *testing.T, o agent.PackOptions) *packerBed {
	start := time.Now()
	b := &packerBed{
		t: t, disk: &slowDisk{Memory: outboxtest.NewMemory(1)}, log: &strings.Builder{}, done: make(chan struct{}),
		clock: clock.NewWith("boot", wall, func() time.Duration { return time.Hour + time.Since(start) }),
	}
	b.Packer = agent.NewPacker(b.disk, b.clock, slog.New(slog.NewTextHandler(b.log, nil)), o)
	go func() {
		defer close(b.done)
		b.Run(t.Context())
	}()
	return b
}

// take gives a reading that was begun that long ago.
func (b *packerBed) take(lane outbox.Lane, ago time.Duration) {
	at := b.clock.Stamp()
	at.Mono -= ago
	at.Wall = at.Wall.Add(-ago)
	b.Emit(lane, sensors.Reading{Sensor: "s", At: at, Quality: sensors.Good, Samples: []sensors.Sample{{Name: "v", Value: 1}}})
}

func (b *packerBed) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *packerBed) stop() {
	b.Close()
	<-b.done
}

func (b *packerBed) want(notes ...note) {
	b.t.Helper()
	if diff := cmp.Diff(append([]note{}, notes...), b.disk.notes()); diff != "" {
		b.t.Errorf("put (-want +got):\n%s", diff)
	}
}

func TestPackerSeals(t *testing.T) {
	const s = time.Second
	rows := map[string]struct {
		o    agent.PackOptions
		do   func(b *packerBed)
		want []note
	}{
		"after the flush interval": {agent.PackOptions{FlushInterval: 5 * s, MaxLoss: 60 * s}, func(b *packerBed) {
			b.take(outbox.Normal, 0)
			b.wait(2 * s)
			b.take(outbox.Normal, 0)
			b.wait(4 * s)
		}, []note{{outbox.Normal, false, 5 * s, 2}}},
		"after half of max_loss": {agent.PackOptions{FlushInterval: 60 * s, MaxLoss: 8 * s}, func(b *packerBed) {
			b.take(outbox.Bulk, 0)
			b.wait(5 * s)
		}, []note{{outbox.Bulk, false, 4 * s, 1}}},
		"counting from when the reading began": {agent.PackOptions{FlushInterval: 60 * s, MaxLoss: 8 * s}, func(b *packerBed) {
			b.take(outbox.Normal, 0)
			b.wait(s)
			b.take(outbox.Normal, 3*s) // it took three seconds, so it is older than the one before it
			b.wait(s)
		}, []note{{outbox.Normal, false, 4 * s, 2}}},
		"each reading with max_loss 0": {agent.PackOptions{FlushInterval: 60 * s}, func(b *packerBed) {
			for range 3 {
				b.take(outbox.Normal, 0)
			}
			b.wait(0)
		}, []note{{outbox.Normal, false, 0, 1}, {outbox.Normal, false, 0, 1}, {outbox.Normal, false, 0, 1}}},
		"alarms alone and durable": {agent.PackOptions{FlushInterval: 60 * s, MaxLoss: 60 * s}, func(b *packerBed) {
			b.take(outbox.Normal, 0)
			b.take(outbox.Alarm, s)
			b.take(outbox.Alarm, 0)
			b.wait(0)
		}, []note{{outbox.Alarm, true, s, 1}, {outbox.Alarm, true, 0, 1}}},
		"what waits for a slow disk, together, with its age": {agent.PackOptions{FlushInterval: s, MaxLoss: 10 * s}, func(b *packerBed) {
			b.disk.fsync = 20 * s
			b.take(outbox.Alarm, 0)
			b.wait(0)
			for range 5 {
				b.take(outbox.Normal, 0)
			}
			b.wait(30 * s)
		}, []note{{outbox.Alarm, true, 0, 1}, {outbox.Normal, false, 20 * s, 5}}},
		"all that is open at the end": {agent.PackOptions{FlushInterval: 60 * s, MaxLoss: 60 * s}, func(b *packerBed) {
			b.take(outbox.Bulk, 0)
			b.take(outbox.Normal, 0)
			b.wait(s)
			b.stop()
		}, []note{{outbox.Normal, false, s, 1}, {outbox.Bulk, false, s, 1}}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newPackerBed(t, row.o)
				row.do(b)
				b.want(row.want...)
				select {
				case <-b.done:
				default:
					b.stop()
				}
			})
		})
	}
}

// What a full outbox refuses is kept, with its true age, and lost only when there is too much of it: bulk before normal, oldest first.
func TestPackerWithAFullOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPackerBed(t, agent.PackOptions{})
		b.disk.fail(outbox.ErrFull)
		for range 100 {
			b.take(outbox.Bulk, 0)
			b.take(outbox.Normal, 0)
			b.wait(0)
		}
		b.wait(10 * time.Second)
		b.want()
		b.disk.fail(nil)
		b.wait(time.Second)
		if got := b.disk.notes(); len(got) != 200 || got[0] != (note{outbox.Bulk, false, 10 * time.Second, 1}) && got[0].Age != 11*time.Second {
			t.Fatalf("%d messages, the first %+v", len(got), got[0])
		}
		b.disk.fail(outbox.ErrFull)
		for range 200 {
			b.take(outbox.Bulk, 0)
			b.take(outbox.Normal, 0)
		}
		b.take(outbox.Alarm, 0)
		b.wait(time.Second)
		if c := b.Counts(); c.ReadingsLost != 145 || c.Messages != 200 || c.Readings != 601 {
			t.Errorf("counts %+v", c)
		}
		if n := strings.Count(b.log.String(), "readings lost"); n != 1 {
			t.Errorf("%d lines about it:\n%s", n, b.log)
		}
		b.disk.fail(nil)
		b.wait(time.Second)
		lanes := [3]int{}
		for _, n := range b.disk.notes()[200:] {
			lanes[n.Lane]++
		}
		if lanes != [3]int{1, 200, 55} {
			t.Errorf("kept %v", lanes)
		}
		b.stop()
		if !strings.Contains(b.log.String(), "readings=144") {
			t.Errorf("the rest is not said:\n%s", b.log)
		}
	})
}

// One that is queued, but not on disk yet, is not put again.
func TestPackerWithADiskThatDoesNotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPackerBed(t, agent.PackOptions{})
		b.disk.fail(errors.Join(outbox.ErrNotDurable, errors.New("no space left on device")))
		b.take(outbox.Alarm, 0)
		b.wait(10 * time.Second)
		b.want(note{outbox.Alarm, true, 0, 1})
		b.stop()
		if c := b.Counts(); c.ReadingsLost != 0 || c.Messages != 1 {
			t.Errorf("counts %+v", c)
		}
	})
}

// One that is too large is lost at once, and in nobody's way.
func TestPackerWithAReadingTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPackerBed(t, agent.PackOptions{})
		b.disk.fail(outbox.ErrTooLarge)
		b.take(outbox.Normal, 0)
		b.wait(0)
		b.disk.fail(nil)
		b.take(outbox.Normal, 0)
		b.wait(0)
		b.want(note{outbox.Normal, false, 0, 1})
		b.stop()
		if c := b.Counts(); c.ReadingsLost != 1 || c.Messages != 1 {
			t.Errorf("counts %+v", c)
		}
	})
}

// A thousand alarms for a disk that takes long for each are a long step, in which the loop lives.
func TestPackerWithManyAlarmsAndASlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPackerBed(t, agent.PackOptions{})
		b.disk.fsync = 200 * time.Millisecond
		for range 1000 {
			b.take(outbox.Alarm, 0)
		}
		for range 190 {
			b.wait(time.Second)
			if late := b.Stuck(); late != "" {
				t.Fatalf("%d alarms are on the disk, and it is said to be stuck: %s", len(b.disk.notes()), late)
			}
		}
		b.stop()
		if n := len(b.disk.notes()); n != 1000 {
			t.Errorf("%d alarms on the disk", n)
		}
	})
}
