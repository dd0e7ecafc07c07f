package agent_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/agent"
	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/sas"
)

// watchBed is a bed whose agent's clients may be made to look ill, and which notes what log and service manager are told.
type watchBed struct {
	*bed
	a *agent.Agent

	mu     sync.Mutex
	ill    func(s *iothub.Status)
	log    bytes.Buffer
	lines  []string
	fed    int
	cancel context.CancelFunc
	done   chan error
}

func newWatchBed(t *testing.T) *watchBed {
	t.Helper()
	b := &watchBed{bed: newBed(t), done: make(chan error, 1), ill: func(*iothub.Status) {}}
	b.o.Logger = slog.New(slog.NewTextHandler(lockedWriter{b}, nil))
	b.o.Watchdog = time.Minute
	b.o.Notify = func(state string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if line, ok := strings.CutPrefix(state, "STATUS="); ok {
			b.lines = append(b.lines, line)
		} else if state == "WATCHDOG=1" {
			b.fed++
		}
	}
	return b
}

type lockedWriter struct{ b *watchBed }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	return w.b.log.Write(p)
}

func (b *watchBed) start() {
	b.a = agent.New(&b.o)
	b.a.SetHealth(func(s iothub.Status) iothub.Status {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ill(&s)
		return s
	})
	ctx, cancel := context.WithCancel(b.t.Context())
	b.cancel = cancel
	go func() { b.done <- b.a.Run(ctx) }()
}

func (b *watchBed) stop() {
	b.t.Helper()
	b.cancel()
	if err := <-b.done; err != nil {
		b.t.Error(err)
	}
}

// look makes the clients look like that from now on.
func (b *watchBed) look(ill func(s *iothub.Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ill = ill
}

// down is a look: a part that is not there.
func down(p iothub.Part, losses uint64, next time.Duration) func(s *iothub.Status) {
	since := time.Now()
	return func(s *iothub.Status) {
		s.Parts[p] = iothub.Health{
			Phase: iothub.Down, Since: since, Next: since.Add(next), Losses: losses,
			Cause: &iothub.Error{Op: p.String() + " link", Class: iothub.ClassServer, Err: errors.New("busy")},
		}
	}
}

// again is a look: the part is proven since now, and was lost before.
func again(p iothub.Part, losses uint64) func(s *iothub.Status) {
	since := time.Now()
	return func(s *iothub.Status) {
		s.Parts[p].Losses, s.Parts[p].Phase, s.Parts[p].Since = losses, iothub.Proven, since
		s.Parts[p].Cause = &iothub.Error{Op: p.String() + " link", Class: iothub.ClassServer, Err: errors.New("busy")}
	}
}

// said returns how many lines of the log hold all of the words.
func (b *watchBed) said(words ...string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for line := range strings.Lines(b.log.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

// told returns the service manager's lines so far, and forgets them.
func (b *watchBed) told() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	b.lines = nil
	return lines
}

func (b *watchBed) series() map[string]float64 { return parseMetrics(b.t, string(b.a.Metrics())) }

// What the hub does to a device at its start, and what the status says of it a while later.
func TestLinkStates(t *testing.T) {
	rows := map[string]struct {
		do           func(b *watchBed)
		state, class string
		hint         string
	}{
		"nobody listens":     {func(b *watchBed) { b.hub.RefuseConnections(true) }, "waiting", "network", "cable"},
		"a device disabled":  {func(b *watchBed) { must(b.t, b.hub.DisableDevice("pi-17")) }, "waiting", "disabled", "enable"},
		"a clock at its end": {func(b *watchBed) { b.skew.Store(int64(-40 * 365 * 24 * time.Hour)) }, "waiting", "clock", "clock"},
		"a wrong key": {func(b *watchBed) {
			k := sas.NewKey([]byte("another key"))
			b.key.Store(&k)
		}, "waiting", "auth", "key"},
		"nothing wrong": {func(*watchBed) {}, "online", "", ""},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newWatchBed(t)
				row.do(b)
				b.start()
				var s agent.LinkStatus
				for range 3000 { // an attempt is under way now and then
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
					if s = b.a.Status().Link; s.State == row.state {
						break
					}
				}
				if s.State != row.state || s.Class != row.class || !strings.Contains(s.Hint, row.hint) || len(s.Parts) != 4 {
					t.Fatalf("link %+v", s)
				}
				series := b.series()
				if row.state == "online" {
					if s.Trouble() != nil || series["iotagent_link_online"] != 1 {
						t.Errorf("parts %+v", s.Parts)
					}
				} else {
					wantDown(t, &s)
					if series[`iotagent_link_trouble{class="`+row.class+`"}`] != 1 || series["iotagent_link_next_attempt_timestamp_seconds"] == 0 {
						t.Errorf("metrics %v", series)
					}
				}
				b.stop()
			})
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantDown looks at the parts of a link without a connection: the first says why and what is next, the others only that they are down.
func wantDown(t *testing.T, s *agent.LinkStatus) {
	t.Helper()
	for i, p := range s.Parts {
		if p.Phase != "down" || p.Since.IsZero() {
			t.Errorf("part %+v", p)
		}
		if first := i == 0; first != (p.Cause != "") || first != (p.NextAttempt != nil) || first != (p.Hint != "") {
			t.Errorf("part %+v", p)
		}
	}
}

// A part that is lost while the connection lives is said once, with its cause, and once when it is back, with how long that took.
func TestPartLostAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newWatchBed(t)
		b.start()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if lines := b.told(); !slices.Equal(lines[max(len(lines)-1, 0):], []string{"online; 0 queued"}) {
			t.Errorf("told %q", lines)
		}
		b.look(down(iothub.Command, 1, 90*time.Second))
		time.Sleep(70 * time.Second)
		synctest.Wait()
		s := b.a.Status().Link
		p := s.Trouble()
		if s.State != "degraded" || p == nil || p.Part != "command" || s.Error != "command link: busy" || s.Class != "server" || s.Hint == "" {
			t.Fatalf("link %+v", s)
		}
		now := b.a.Status().Time
		if got := now.Sub(s.Since); got != 70*time.Second || s.NextAttempt == nil || s.NextAttempt.Sub(now) != 20*time.Second {
			t.Errorf("degraded for %v, next attempt %v at %v", got, s.NextAttempt, now)
		}
		series := b.series()
		for name, want := range map[string]float64{
			"iotagent_link_online": 0, `iotagent_link_part_up{part="command"}`: 0, `iotagent_link_part_up{part="telemetry"}`: 1,
			`iotagent_link_part_losses_total{part="command"}`: 1, `iotagent_link_trouble{class="server"}`: 1, "iotagent_link_losses_total": 0,
		} {
			if series[name] != want {
				t.Errorf("%s is %v, want %v", name, series[name], want)
			}
		}
		if lines := b.told(); len(lines) != 1 || !strings.HasPrefix(lines[0], "command link down: command link: busy; next attempt ") {
			t.Errorf("told %q", lines)
		}
		b.look(again(iothub.Command, 1))
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := b.a.Status().Link; s.State != "online" || s.Error != "" || s.Parts[3].Losses != 1 || s.Parts[3].Cause == "" || s.Parts[3].Hint != "" {
			t.Errorf("link %+v", s)
		}
		if n := b.said("part of the link lost", `part="command link"`, "busy"); n != 1 {
			t.Errorf("the loss is logged %d times", n)
		}
		if n := b.said("part of the link proven again", "after=1m10s"); n != 1 {
			t.Errorf("the recovery is logged %d times:\n%s", n, b.log.String())
		}
		if lines := b.told(); !slices.Equal(lines, []string{"online; 0 queued"}) {
			t.Errorf("told %q", lines)
		}
		if b.dials.Load() != 1 {
			t.Errorf("%d connections", b.dials.Load())
		}
		b.stop()
	})
}

// A telemetry link that does not come back keeps nobody waiting for ever: after ten minutes the hub is dialled anew, and the watchdog is fed all the while.
func TestDegradedTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newWatchBed(t)
		b.hub.SetTelemetryCredit(0)
		b.start()
		time.Sleep(10 * time.Second)
		b.look(down(iothub.Telemetry, 1, 0))
		for range 9 * 60 {
			time.Sleep(time.Second)
			if s := b.a.Status(); s.Stuck != "" || s.Link.State != "degraded" {
				t.Fatalf("stuck %q, link %+v", s.Stuck, s.Link)
			}
		}
		time.Sleep(59 * time.Second)
		if n := b.dials.Load(); n != 1 {
			t.Errorf("%d connections within ten minutes", n)
		}
		time.Sleep(3 * time.Second)
		b.look(func(*iothub.Status) {})
		time.Sleep(time.Minute)
		synctest.Wait()
		s := b.a.Status()
		if b.dials.Load() != 2 || s.Link.State != "online" || s.Link.Losses != 1 || s.Link.Parts[2].Losses != 1 {
			t.Errorf("%d connections, link %+v", b.dials.Load(), s.Link)
		}
		if n := b.said("hub not reached", "telemetry link: not proven for 10m0s: telemetry link: busy"); n != 1 {
			t.Errorf("the reason is logged %d times:\n%s", n, b.log.String())
		}
		b.mu.Lock()
		fed := b.fed
		b.mu.Unlock()
		if fed < 40 {
			t.Errorf("the watchdog was fed %d times", fed)
		}
		b.stop()
	})
}

// Another client with this identity is said plainly, and not forgotten when the link is back.
func TestDisplacedIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newWatchBed(t)
		b.start()
		time.Sleep(10 * time.Second)
		other, err := b.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		s := b.a.Status().Link
		if s.State != "waiting" || s.Class != "displaced" || !strings.Contains(s.Hint, "identity") || s.Displaced != 1 || s.DisplacedAt == nil {
			t.Fatalf("link %+v", s)
		}
		if lines := b.told(); len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "connection down: another client connects as this device; next attempt ") {
			t.Errorf("told %q", lines)
		}
		if n := b.said("hub not reached", "class=displaced", "identity"); n != 1 {
			t.Errorf("it is logged %d times", n)
		}
		if err := other.Close(t.Context()); err != nil {
			t.Error(err)
		}
		b.until(20*time.Minute, "the agent again", func() bool { return len(b.hub.Links("pi-17")) == 2 })
		time.Sleep(time.Second)
		synctest.Wait()
		if s := b.a.Status().Link; s.State != "online" || s.Displaced != 1 || s.DisplacedAt == nil || b.series()["iotagent_link_displaced_total"] != 1 {
			t.Errorf("link %+v", s)
		}
		b.stop()
	})
}

// A quota that is used up leaves the link online; that nothing is sent is said beside it.
func TestQuotaIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newWatchBed(t)
		b.hub.OnTelemetry(func(string, int) hubsim.Verdict {
			return hubsim.Verdict{Outcome: hubsim.Reject, Condition: "amqp:resource-limit-exceeded", Description: `{"errorCode":403002}`}
		})
		b.put(1)
		b.start()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		s := b.a.Status()
		if s.Link.State != "online" || s.Link.PausedUntil == nil || !s.Link.PausedUntil.After(s.Time) || s.Metering.Messages != 0 {
			t.Errorf("link %+v, metering %+v", s.Link, s.Metering)
		}
		b.stop()
	})
}

// The service manager learns the length of the queue, but is not told of each message.
func TestServiceManagerIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newWatchBed(t)
		b.hub.SetTelemetryCredit(0)
		b.start()
		time.Sleep(2 * time.Second)
		b.told()
		for range 600 {
			b.put(1)
			time.Sleep(100 * time.Millisecond)
			b.look(func(s *iothub.Status) { s.Parts[iothub.Telemetry].Phase = iothub.Proven })
		}
		synctest.Wait()
		if lines := b.told(); len(lines) > 4 {
			t.Errorf("told %d times in a minute: %q", len(lines), lines)
		}
		b.hub.SetTelemetryCredit(1000)
		b.stop()
	})
}
