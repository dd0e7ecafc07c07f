package agent_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/agent"
	"iotagent/hubsim"
	"iotagent/iothub/sas"
)

func TestReadingsReachTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.o.Sources = []agent.Source{{Sampler: &fakeSensor{name: "boiler", clock: b.o.Clock}, Lane: 1}}
		_, stop := b.run()
		b.until(time.Minute, "first message", func() bool { return b.hub.Accepted() >= 1 })
		e := b.hub.Events()[0]
		want := `[{"sensor":"boiler","time":"2026-11-01T00:00:01.000Z","temperature_celsius":0.5},` +
			`{"sensor":"boiler","time":"2026-11-01T00:00:02.000Z","temperature_celsius":1},`
		if got := *e.Body; !strings.HasPrefix(got, want) {
			t.Errorf("body\n got %s\nwant %s…", got, want)
		}
		if e.MessageID != "0000000000000abc-normal-1" || e.ContentType != "application/json" {
			t.Errorf("message-id %q, content-type %q", e.MessageID, e.ContentType)
		}
		if p := e.Properties; p["epoch"] != "0000000000000abc" || p["lane"] != "normal" || p["seq"] != "1" {
			t.Errorf("properties %v", p)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := b.queue.Stats().Queued[1]; n != 0 {
			t.Errorf("%d messages left after a stop with the hub there", n)
		}
	})
}

func TestFailedReadingIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.o.Sources = []agent.Source{{Sampler: &fakeSensor{name: "duct", clock: b.o.Clock, fail: errors.New("no ack")}, Lane: 1}}
		_, stop := b.run()
		b.until(time.Minute, "first message", func() bool { return b.hub.Accepted() >= 1 })
		if got := *b.hub.Events()[0].Body; !strings.Contains(got, `"quality":"error","reason":"no ack"`) {
			t.Errorf("body %s", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Connections drop, links are detached, messages are released, rejected without a reason and lost: everything arrives, first
// arrivals that were not given back keep their order.
func TestNothingIsLostUnderFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		ids := b.put(3000)
		b.hub.OnTelemetry(func(_ string, nth int) hubsim.Verdict {
			switch {
			case nth%97 == 0:
				return hubsim.Verdict{Outcome: hubsim.Release}
			case nth%301 == 0:
				return hubsim.Verdict{Outcome: hubsim.Reject}
			case nth%401 == 0:
				return hubsim.Verdict{Outcome: hubsim.Modify}
			case nth == 700:
				return hubsim.Verdict{Outcome: hubsim.Lose}
			}
			return hubsim.Verdict{}
		})
		_, stop := b.run()
		for i := range 6 {
			b.until(5*time.Minute, "progress", func() bool { return b.hub.Accepted() >= 300*(i+1) })
			if i%2 == 0 {
				b.hub.DropConnections()
			} else {
				b.hub.DetachLinks("/devices/pi-17/messages/events", "amqp:link:detach-forced", "server busy")
			}
		}
		b.until(30*time.Minute, "everything", func() bool { got, _ := b.received(); return len(got) == len(ids) })
		b.wantAll(ids)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if s := b.queue.Stats(); s.Queued[1] != 0 || s.Dead != 0 {
			t.Errorf("left in the outbox: %d queued, %d dead letters", s.Queued[1], s.Dead)
		}
	})
}

func TestFirstTransmissionsKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		ids := b.put(2500)
		_, stop := b.run()
		for i := range 4 {
			b.until(time.Minute, "progress", func() bool { return b.hub.Accepted() >= 400*(i+1) })
			b.hub.DropConnections()
		}
		b.until(10*time.Minute, "everything", func() bool { got, _ := b.received(); return len(got) == len(ids) })
		got, _ := b.received()
		for i := range ids {
			if got[i] != ids[i] {
				t.Fatalf("message %d at the hub is %s, want %s", i, got[i], ids[i])
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A lost acknowledgement is noticed within a minute, and the message comes again with the same id.
func TestLostAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.hub.OnTelemetry(func(_ string, nth int) hubsim.Verdict {
			if nth == 1 {
				return hubsim.Verdict{Outcome: hubsim.Lose}
			}
			return hubsim.Verdict{}
		})
		ids := b.put(1)
		_, stop := b.run()
		b.until(70*time.Second, "the second arrival", func() bool { return b.hub.Accepted() >= 2 })
		if _, again := b.received(); again != 1 {
			t.Errorf("%d repetitions, want 1", again)
		}
		b.wantAll(ids)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestMessageTooLargeForTheHubIsBuried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.hub.OnTelemetry(func(_ string, nth int) hubsim.Verdict {
			if nth == 1 {
				return hubsim.Verdict{Outcome: hubsim.Reject, Condition: "amqp:link:message-size-exceeded"}
			}
			return hubsim.Verdict{}
		})
		ids := b.put(3)
		_, stop := b.run()
		b.until(time.Minute, "the two others", func() bool { return b.hub.Accepted() == 2 })
		if err := stop(); err != nil {
			t.Error(err)
		}
		b.wantAll(ids[1:])
		if s := b.queue.Stats(); s.Dead != 1 || s.Queued[1] != 0 {
			t.Errorf("%d dead letters, %d queued; want 1 and 0", s.Dead, s.Queued[1])
		}
	})
}

// A hub that cuts the link for the size of a message has not said which one: none is given up.
func TestDetachBlamesNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		ids := b.put(20)
		b.hub.SetTelemetryCredit(0) // the first message waits to be sent
		_, stop := b.run()
		b.until(time.Minute, "the links", func() bool { return len(b.hub.Links("pi-17")) == 2 })
		synctest.Wait()
		b.hub.DetachLinks("/devices/pi-17/messages/events", "amqp:link:message-size-exceeded", "too big")
		b.hub.SetTelemetryCredit(1000)
		b.until(10*time.Minute, "everything", func() bool { got, _ := b.received(); return len(got) == len(ids) || b.queue.Stats().Dead > 0 })
		if s := b.queue.Stats(); s.Dead != 0 {
			t.Errorf("%d dead letters", s.Dead)
		}
		b.wantAll(ids)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A used-up quota keeps every message and sends seldom.
func TestQuotaKeepsMessagesAndSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		tries, until := 0, time.Now().Add(30*time.Minute)
		b.hub.OnTelemetry(func(string, int) hubsim.Verdict {
			if time.Now().Before(until) {
				tries++
				return hubsim.Verdict{Outcome: hubsim.Reject, Condition: "amqp:resource-limit-exceeded", Description: `{"errorCode":403002}`}
			}
			return hubsim.Verdict{}
		})
		ids := b.put(10)
		_, stop := b.run()
		b.until(time.Hour, "everything after the quota", func() bool { return b.hub.Accepted() == 10 })
		b.wantAll(ids)
		if tries > 310 {
			t.Errorf("%d sends in 30 minutes of used-up quota", tries)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A hub that is down at the start, for an hour: sampling goes on, nobody hammers, everything arrives afterwards.
func TestHubDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.hub.RefuseConnections(true)
		b.o.Sources = []agent.Source{{Sampler: &fakeSensor{name: "boiler", clock: b.o.Clock}, Lane: 1}}
		a, stop := b.run()
		time.Sleep(time.Hour) // virtual
		if n := b.queue.Stats().Queued[1]; n < 700 {
			t.Errorf("%d messages queued after an hour", n)
		}
		if n := b.dials.Load(); n > 400 || n < 100 {
			t.Errorf("%d attempts in an hour", n)
		}
		if s := a.Status().Link; s.State != "waiting" || s.Class != "network" || s.Hint == "" {
			t.Errorf("link %+v", s)
		}
		b.hub.RefuseConnections(false)
		b.until(2*time.Minute, "the backlog", func() bool { return b.hub.Accepted() >= 700 })
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWrongKeyIsSaidAndTriedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		another := sas.NewKey([]byte("another key"))
		b.key.Store(&another)
		b.put(1)
		a, stop := b.run()
		time.Sleep(10 * time.Minute) // virtual
		if s := a.Status().Link; s.Class != "auth" || !strings.Contains(s.Hint, "key") {
			t.Errorf("link %+v", s)
		}
		if n := b.hub.TokenRequests(); n > 60 {
			t.Errorf("%d token requests in ten minutes", n)
		}
		b.key.Store(&b.device.Key)
		b.until(5*time.Minute, "the message, once the key is right", func() bool { return b.hub.Accepted() == 1 })
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestClockAnHourBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.skew.Store(int64(-2 * time.Hour))
		b.put(1)
		a, stop := b.run()
		time.Sleep(time.Minute) // virtual
		s := a.Status().Link
		if (s.Class != "auth" && s.Class != "clock") || !strings.Contains(s.Hint, "clock") {
			t.Errorf("link %+v", s)
		}
		b.skew.Store(0)
		b.until(5*time.Minute, "the message, once the clock is right", func() bool { return b.hub.Accepted() == 1 })
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestImplausibleClockMintsNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.skew.Store(int64(-20 * 365 * 24 * time.Hour))
		b.o.Sources = []agent.Source{{Sampler: &fakeSensor{name: "boiler", clock: b.o.Clock}, Lane: 1}}
		a, stop := b.run()
		time.Sleep(time.Minute) // virtual
		if s := a.Status().Link; s.Class != "clock" {
			t.Errorf("link %+v", s)
		}
		if n := b.hub.TokenRequests(); n != 0 {
			t.Errorf("%d token requests with a clock in the past", n)
		}
		b.skew.Store(0)
		b.until(5*time.Minute, "readings", func() bool { return b.hub.Accepted() > 5 })
		if got := *b.hub.Events()[0].Body; !strings.Contains(got, `"time":"2026-11-01T00:00:01.000Z","clock":"restored"`) {
			t.Errorf("body %s", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStopWithoutHubDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.hub.RefuseConnections(true)
		b.put(5)
		_, stop := b.run()
		time.Sleep(time.Minute) // virtual
		start := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("the stop took %s", d)
		}
	})
}

func TestDrainEndsWhenEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		ids := b.put(1500)
		if err := agent.New(&b.o).Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.wantAll(ids)
	})
}

func TestOnceGivesUpAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.hub.RefuseConnections(true)
		b.o.Sources = []agent.Source{{Sampler: &fakeSensor{name: "boiler", clock: b.o.Clock}, Lane: 1}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := agent.New(&b.o).Once(ctx); !errors.Is(err, agent.ErrNotDrained) {
			t.Errorf("error %v, want ErrNotDrained", err)
		}
		b.hub.RefuseConnections(false)
		if err := agent.New(&b.o).Once(t.Context()); err != nil {
			t.Error(err)
		}
		if n := b.hub.Accepted(); n != 2 {
			t.Errorf("%d messages, want both readings", n)
		}
	})
}
