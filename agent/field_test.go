package agent_test

import (
	"testing"
	"testing/synctest"
	"time"

	"iotagent/hubsim"
)

// These tests are named after what has hurt others in the field (docs/link.md).

// A hub that refuses every token for hours, for whatever reason, is asked seldom, and found at once when it has changed its mind.
func TestFieldHotLoopOnUnauthorized(t *testing.T) {
	for _, refusal := range []struct {
		status int32
		text   string
	}{
		{401, "Unauthorized"},
		{401, "Device pi-17 at IotHub localhost not registered."},
		{404, "Hub not found"},
		{500, "Server error"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t)
			b.hub.OnToken(func(int) hubsim.TokenVerdict { return hubsim.TokenVerdict{Status: refusal.status, Text: refusal.text} })
			ids := b.put(3)
			_, stop := b.run()
			time.Sleep(2 * time.Hour) // virtual
			if n := b.hub.TokenRequests(); n > 600 {
				t.Errorf("%s: %d requests in two hours", refusal.text, n)
			}
			b.hub.OnToken(nil)
			b.until(20*time.Minute, "everything, when the hub has changed its mind", func() bool { return b.hub.Accepted() >= len(ids) })
			b.wantAll(ids)
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Two gateways that were given one identity by mistake do not fight: each waits long, says why, and both get their messages through.
func TestFieldTwoClientsOfOneIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		twin := b.o
		twin.Queue = outboxMemory()
		_, stopB := b.run()
		time.Sleep(10 * time.Second)
		other := &bed{t: t, hub: b.hub, queue: twin.Queue, o: twin}
		a, stopTwin := other.run()
		mine, its := b.put(20), other.put(20)
		time.Sleep(time.Hour)
		before := b.dials.Load()
		time.Sleep(5 * time.Hour)
		if n := b.dials.Load() - before; n > 5*60*2 {
			t.Errorf("%d connections in five hours", n)
		}
		if s := a.Status().Link; s.Displaced == 0 {
			t.Errorf("nothing is said of another client: %+v", s)
		}
		b.until(6*time.Hour, "the messages of both", func() bool { got, _ := b.received(); return len(got) == 40 })
		b.wantAll(append(mine, its...))
		for _, stop := range []func() error{stopB, stopTwin} {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
