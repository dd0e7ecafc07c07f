package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/agent"
	"iotagent/hubsim"
	"iotagent/internal/clock"
)

// clockBed is a bed whose kernel says what the test wants, with a sensor whose values tell when they were taken.
type clockBed struct {
	*bed
	start  time.Time // true
	up     time.Duration
	synced atomic.Bool
	asked  atomic.Int64
	path   string
}

// newClockBed is a machine that was started up ago, with a wall clock that is off.
func newClockBed(t *testing.T, up, off time.Duration) *clockBed {
	b := &clockBed{bed: newBed(t), start: wall(), up: up, path: filepath.Join(t.TempDir(), "clock.json")}
	b.skew.Store(int64(off))
	b.restart()
	return b
}

// restart prepares the next process of the same boot.
func (b *clockBed) restart() {
	b.o.Clock = clock.Of(&clock.Parts{
		Boot: "boot", Now: b.now, Mono: func() time.Duration { return b.up + wall().Sub(b.start) }, Synchronised: b.synced.Load,
		Anchors: clock.OpenAnchors(b.path),
	})
	n := int(wall().Sub(b.start) / time.Second)
	b.o.Sources = []agent.Source{{Sampler: &fakeSensor{name: "boiler", clock: b.o.Clock, n: n}, Lane: 1}}
}

// hubAnswers has the agent ask the hub, which answers after took, 300 ms late.
func (b *clockBed) hubAnswers(took time.Duration, err error) {
	b.o.HubTime = func(ctx context.Context) (time.Time, time.Duration, error) {
		b.asked.Add(1)
		select {
		case <-ctx.Done():
			return time.Time{}, 0, ctx.Err()
		case <-time.After(took):
		}
		return wall().Add(-300 * time.Millisecond), 550 * time.Millisecond, err
	}
}

// said counts what the readings at the hub say of their clock, and checks that those which claim to know their time do.
func (b *clockBed) said() map[string]int {
	b.t.Helper()
	marks := map[string]int{}
	for _, e := range b.hub.Events() {
		var readings []struct {
			Time  time.Time
			Clock string
			Value float64 `json:"temperature_celsius"`
		}
		if err := json.Unmarshal([]byte(*e.Body), &readings); err != nil {
			b.t.Fatal(err)
		}
		for _, r := range readings {
			marks[r.Clock]++
			truth := b.start.Add(time.Duration(math.Round(2*r.Value)) * time.Second)
			if off := r.Time.Sub(truth); off.Abs() > time.Second && r.Clock != "unconfirmed" {
				b.t.Errorf("%v off, marked %q: %s", off, r.Clock, *e.Body)
			}
		}
	}
	return marks
}

func TestTimekeeper(t *testing.T) {
	const minute = time.Minute
	refused := errors.New("connection refused")
	rows := map[string]struct {
		up, off time.Duration
		do      func(b *clockBed)
		// none and some are marks that no reading and that some readings have.
		none, some []string
	}{
		"synchronised": {time.Hour, 0, func(b *clockBed) {
			b.synced.Store(true)
			b.hubAnswers(0, nil)
		}, []string{"restored", "unconfirmed", "unknown"}, []string{""}},
		"the hub knows that the clock is behind": {time.Hour, -20 * minute, func(b *clockBed) {
			b.hubAnswers(800*time.Millisecond, nil)
		}, []string{"", "unconfirmed", "unknown"}, []string{"restored"}},
		"the hub agrees": {time.Hour, 100 * time.Millisecond, func(b *clockBed) {
			b.hubAnswers(3*time.Second, nil)
		}, []string{"unconfirmed", "unknown"}, []string{"", "restored"}},
		"the time service comes just after the link": {20 * time.Second, -20 * minute, func(b *clockBed) {
			b.hubAnswers(0, refused)
			time.AfterFunc(3*time.Second, func() { b.skew.Store(0); b.synced.Store(true) })
		}, []string{"unconfirmed", "unknown"}, []string{"", "restored"}},
		"nobody knows": {time.Hour, -20 * minute, func(b *clockBed) {
			b.hubAnswers(0, refused)
		}, []string{"", "restored", "unknown"}, []string{"unconfirmed"}},
		"nobody can be asked": {time.Hour, -20 * minute, func(*clockBed) {}, []string{"", "restored", "unknown"}, []string{"unconfirmed"}},
		"the time service comes late": {time.Hour, -20 * minute, func(b *clockBed) {
			time.AfterFunc(20*time.Second, func() { b.skew.Store(0); b.synced.Store(true) })
		}, []string{"unknown", "restored"}, []string{"", "unconfirmed"}},
		"somebody sets the clock": {time.Hour, 0, func(b *clockBed) {
			b.synced.Store(true)
			time.AfterFunc(20500*time.Millisecond, func() { b.skew.Store(int64(-20 * minute)); b.synced.Store(false) })
			time.AfterFunc(30500*time.Millisecond, func() { b.skew.Store(int64(20 * minute)) })
			time.AfterFunc(40500*time.Millisecond, func() { b.skew.Store(0); b.synced.Store(true) })
		}, []string{"unknown", "unconfirmed"}, []string{"", "restored"}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newClockBed(t, row.up, row.off)
				row.do(b)
				a, stop := b.run()
				time.Sleep(minute) // virtual
				if s := a.Status(); s.Link.State != "online" || s.Clock.State == "" {
					t.Errorf("status %+v", s.Clock)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				marks := b.said()
				n := 0
				for _, mark := range row.some {
					if n += marks[mark]; marks[mark] == 0 {
						t.Errorf("none is marked %q: %v", mark, marks)
					}
				}
				for _, mark := range row.none {
					if marks[mark] > 0 {
						t.Errorf("some are marked %q: %v", mark, marks)
					}
				}
				if n < 59 {
					t.Errorf("%d readings of a minute", n)
				}
			})
		})
	}
}

// Readings wait in the outbox, the daemon is started anew, and the trust comes only then.
func TestTimesAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newClockBed(t, 10*time.Second, -56*365*24*time.Hour)
		_, stop := b.run()
		time.Sleep(30500 * time.Millisecond) // virtual
		if err := stop(); err != nil {
			t.Error(err)
		}
		b.restart()
		_, stop = b.run()
		time.Sleep(30 * time.Second)
		b.skew.Store(0)
		b.synced.Store(true)
		time.Sleep(5 * time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if marks := b.said(); marks["restored"] < 58 || marks[""] < 250 || len(marks) != 2 {
			t.Errorf("marks %v", marks)
		}
	})
}

// While there is no connection nothing is said of the time that could be known better when there is one; and links that live for moments do not wait for ever.
func TestNothingIsAssumedWithoutAConnection(t *testing.T) {
	for name, row := range map[string]struct {
		lives []time.Duration
		sync  bool
		mark  string
	}{
		"the time service comes while the link is down": {[]time.Duration{2 * time.Second}, true, "restored"},
		"every link is lost at once":                    {[]time.Duration{2 * time.Second, 2 * time.Second, 2 * time.Second}, false, "unconfirmed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newClockBed(t, 20*time.Second, -20*time.Minute)
				a, stop := b.run()
				for _, life := range row.lives {
					for b.hub.Connections() == 0 {
						time.Sleep(10 * time.Millisecond) // virtual
					}
					time.Sleep(life)
					b.hub.RefuseConnections(true)
					b.hub.DropConnections()
					time.Sleep(20 * time.Second)
					b.hub.RefuseConnections(false)
				}
				if row.sync {
					b.skew.Store(0)
					b.synced.Store(true)
				}
				time.Sleep(2 * time.Minute)
				if err := stop(); err != nil {
					t.Error(err)
				}
				if marks := b.said(); marks[row.mark] == 0 || marks["unconfirmed"]+marks["restored"] != marks[row.mark] {
					t.Errorf("marks %v; %+v", marks, a.Status().Clock)
				}
			})
		})
	}
}

// A message that may have reached the hub goes again with the same bytes, though the time is known better by now.
func TestSentAgainAfterTheTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newClockBed(t, time.Hour, -20*time.Minute)
		b.hub.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Outcome: hubsim.Lose} })
		_, stop := b.run()
		b.until(time.Minute, "a message without an acknowledgement", func() bool { return len(b.hub.Events()) > 0 })
		if err := stop(); err != nil {
			t.Log(err)
		}
		b.hub.OnTelemetry(nil)
		b.skew.Store(0)
		b.synced.Store(true)
		b.restart()
		_, stop = b.run()
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		bodies := map[string]string{}
		again := 0
		for _, e := range b.hub.Events() {
			if before, ok := bodies[e.MessageID]; ok {
				if again++; before != *e.Body {
					t.Errorf("%s was\n%s\nand is\n%s", e.MessageID, before, *e.Body)
				}
			}
			bodies[e.MessageID] = *e.Body
		}
		if again == 0 {
			t.Error("nothing came again")
		}
	})
}

// The hub is not asked while the kernel vouches for the clock, and otherwise once with each connection and now and then.
func TestTheHubIsAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newClockBed(t, time.Hour, 0)
		b.synced.Store(true)
		b.o.Sources = nil
		b.hubAnswers(0, nil)
		_, stop := b.run()
		time.Sleep(time.Hour)
		if n := b.asked.Load(); n != 0 {
			t.Errorf("asked %d times for nothing", n)
		}
		b.synced.Store(false)
		time.Sleep(10 * time.Hour)
		if n := b.asked.Load(); n < 20 || n > 100 {
			t.Errorf("asked %d times in ten hours", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Alarms wait for the clock no longer than the rest, and nothing waits for it twice.
func TestTheClockHoldsUpLittle(t *testing.T) {
	for name, row := range map[string]struct {
		up     time.Duration
		answer time.Duration
		most   time.Duration
	}{
		"nobody to ask":           {time.Hour, 0, 100 * time.Millisecond},
		"nobody to ask, new boot": {time.Minute, 0, 5 * time.Second},
		"the hub answers":         {time.Hour, 700 * time.Millisecond, 800 * time.Millisecond},
		"the hub is silent":       {time.Hour, time.Hour, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newClockBed(t, row.up, 0)
				b.o.Sources = nil
				if row.answer > 0 {
					b.hubAnswers(row.answer, nil)
				}
				b.put(1)
				start := time.Now()
				a, stop := b.run()
				b.until(time.Minute, "the message", func() bool { return b.hub.Accepted() == 1 })
				if d := time.Since(start); d > row.most {
					t.Errorf("it took %v", d)
				}
				if s := a.Status(); !strings.Contains("unconfirmed confirmed", s.Clock.State) {
					t.Errorf("%+v", s.Clock)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
