package agent_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/hubsim"
	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// With live-first a new message waits for what is in flight and for the parcel in hand, not for the backlog; the backlog goes on beside it, in order.
func TestLiveFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		queue := outboxtest.NewMemory(0xabc)
		queue.LiveFirst = true
		b.queue, b.o.Queue = queue, queue
		// 20 transfers a second: the window is full all the time.
		b.hub.SetThrottle(&hubsim.Throttle{Rate: 20, Patience: time.Hour})
		b.o.Uplink.BatchMessages = 20
		backlog := b.putIn(outbox.Normal, 5000, 50)
		a, stop := b.run()
		b.until(time.Minute, "the backlog to begin", func() bool { return b.hub.Accepted() >= 500 })
		var live []string
		for range 5 {
			live = append(live, b.putIn(outbox.Normal, 1, 50)...)
			before, put := b.hub.Accepted(), time.Now()
			b.until(10*time.Second, "a live message", func() bool { return b.place(live[len(live)-1]) >= 0 })
			if at := b.place(live[len(live)-1]); at > before+3*20 || time.Since(put) > 2*time.Second {
				t.Errorf("a live message is number %d at the hub after %v; %d were there when it was put", at, time.Since(put), before)
			}
		}
		if u := a.Status().Link.Uplink; b.hub.Accepted() > len(backlog)/2 || u.InFlightTransfers < 2 {
			t.Errorf("nothing in its way: %d accepted, %+v", b.hub.Accepted(), u)
		}
		b.hub.SetThrottle(nil)
		b.until(time.Minute, "everything", func() bool { return b.hub.Accepted() == len(backlog)+len(live) })
		if err := stop(); err != nil {
			t.Error(err)
		}
		got, again := b.received()
		rest := slices.DeleteFunc(slices.Clone(got), func(id string) bool { return slices.Contains(live, id) })
		if !slices.Equal(rest, backlog) || again != 0 {
			t.Errorf("the backlog is out of order, or %d came again", again)
		}
	})
}

// A telemetry link that is attached anew inside the living connection, because the hub detached it or lost it without a word, loses nothing, repeats only
// what was in flight, and does so before anything newer.
func TestLostLinkUnderABacklog(t *testing.T) {
	const telemetry = "/devices/pi-17/messages/events"
	t.Run("detached", func(t *testing.T) {
		testLostLink(t, func(h *hubsim.Server) { h.DetachLinks(telemetry, "amqp:link:detach-forced", "server busy") })
	})
	t.Run("deaf", func(t *testing.T) {
		testLostLink(t, func(h *hubsim.Server) { h.SetDeaf(telemetry, hubsim.DeafNow) })
	})
	t.Run("session", func(t *testing.T) {
		testLostLink(t, func(h *hubsim.Server) { h.EndSessions("amqp:internal-error", "moving") })
	})
}

func testLostLink(t *testing.T, lose func(*hubsim.Server)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		ids := b.putIn(outbox.Normal, 6000, 50)
		a, stop := b.run()
		for i := range 5 {
			b.until(2*time.Minute, "progress", func() bool { return b.hub.Accepted() >= 500*(i+1) })
			lose(b.hub)
			ids = append(ids, b.putIn(outbox.Normal, 20, 50)...)
		}
		b.until(5*time.Minute, "everything", func() bool { got, _ := b.received(); return len(got) == len(ids) })
		if err := stop(); err != nil {
			t.Error(err)
		}
		u := a.Status().Link.Uplink
		got, again := b.received()
		if !slices.Equal(got, ids) {
			t.Errorf("%d of %d messages arrived, or not in order", len(got), len(ids))
		}
		if uint64(again) > u.Lost {
			t.Errorf("%d messages came again, %d lost their acknowledgement", again, u.Lost)
		}
		if n := b.dials.Load(); n != 1 || u.Dead != 0 {
			t.Errorf("%d connections, %d dead letters", n, u.Dead)
		}
	})
}

// A hub that gives no credit, and later a link that is not there, cost no processor time: the sender waits.
func TestSenderWaitsForCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.hub.SetTelemetryCredit(0)
		ids := b.putIn(outbox.Normal, 50, 50)
		queue := &countingQueue{Queue: b.queue}
		b.o.Queue = queue
		_, stop := b.run()
		b.until(time.Minute, "the links", func() bool { return len(b.hub.Links("pi-17")) == 2 })
		time.Sleep(30 * time.Second) // virtual
		synctest.Wait()
		if queue.nexts > 10 {
			t.Errorf("the outbox was asked %d times while there was no credit", queue.nexts)
		}
		b.hub.SetTelemetryCredit(1000)
		b.until(time.Minute, "everything", func() bool { return b.hub.Accepted() == len(ids) })
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got, _ := b.received(); strings.Join(got, " ") != strings.Join(ids, " ") {
			t.Errorf("arrived out of order: %v", got)
		}
	})
}

// countingQueue counts the calls of Next.
type countingQueue struct {
	outbox.Queue
	nexts int
}

func (q *countingQueue) Next(most, bytes int) ([]outbox.Entry, error) {
	q.nexts++
	return q.Queue.Next(most, bytes)
}
