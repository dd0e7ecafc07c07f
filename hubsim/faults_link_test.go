package hubsim_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

func TestSessionWindowOfZeroStopsTransfers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		for name, attached := range map[string]bool{"of a running session": true, "of a link to come": false} {
			var s *amqp.Sender
			if attached {
				s = c.sender(eventsAddress)
			}
			b.SetSessionWindow(0)
			if !attached {
				s = c.sender(eventsAddress)
			}
			synctest.Wait()
			before := b.Accepted()
			sent := make(chan error, 1)
			go func() { sent <- s.Send(t.Context(), amqp.NewMessage([]byte("x")), nil) }()
			<-time.After(time.Minute)
			if b.Accepted() != before {
				t.Errorf("window %s: a message came through", name)
			}
			b.SetSessionWindow(-1)
			if err := <-sent; err != nil {
				t.Errorf("window %s, opened again: %v", name, err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func sentElsewhere(t *testing.T, err error, condition amqp.ErrCond) map[string]any {
	t.Helper()
	var remote *amqp.Error
	if !errors.As(err, &remote) || remote.Condition != condition {
		t.Fatalf("got %v, want %s", err, condition)
	}
	return remote.Info
}

func TestRedirects(t *testing.T) {
	b := newBed(t, nil)
	to, err := hubsim.ParseTarget("other.hub:5672")
	if err != nil {
		t.Fatal(err)
	}
	c := b.connectDevice()
	if n := b.RedirectOnce("devices/pi-17/messages/Events", to); n != 0 {
		t.Errorf("%d attached links redirected, want none yet", n)
	}
	_, err = c.NewSender(stepContext(t), eventsAddress, nil)
	info := sentElsewhere(t, err, "amqp:link:redirect")
	if info["network-host"] != "other.hub" || info["port"] != int32(5672) || info["hostname"] != "other.hub" ||
		info["address"] != "amqps://other.hub:5672/devices/pi-17/messages/Events" {
		t.Errorf("info %v", info)
	}
	c.sender(eventsAddress) // once

	r := c.receiver(commandsAddress, nil)
	if n := b.RedirectOnce(commandsAddress, to); n != 1 {
		t.Errorf("%d attached links redirected, want 1", n)
	}
	_, err = r.Receive(stepContext(t), nil)
	sentElsewhere(t, err, "amqp:link:redirect")
	c.receiver(commandsAddress, nil)

	b.RedirectNextConnection(to)
	nc, err := b.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := amqp.NewConn(t.Context(), nc, nil)
	if err == nil {
		<-conn.Done()
		err = conn.Err()
	}
	if info := sentElsewhere(t, err, "amqp:connection:redirect"); info["network-host"] != "other.hub" {
		t.Errorf("info %v", info)
	}
	b.connectDevice()
}

func TestParseTarget(t *testing.T) {
	for _, bad := range []string{"", "host", "host:", ":1", "host:0", "host:65536", "host:x"} {
		if to, err := hubsim.ParseTarget(bad); err == nil {
			t.Errorf("%q: %+v", bad, to)
		}
	}
	if to, err := hubsim.ParseTarget("[::1]:5671"); err != nil || to.Host != "::1" || to.Port != 5671 {
		t.Errorf("%+v %v", to, err)
	}
}

func TestClockThatIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, &hubsim.Options{TokenGrace: -1})
		c := b.connectDevice() // for an hour
		s := c.sender(eventsAddress)
		if err := b.SendCommand("pi-17", amqp.NewMessage([]byte("expires in an hour"))); err != nil {
			t.Fatal(err)
		}
		b.SetClockOffset(30 * time.Minute)
		synctest.Wait()
		accepted(t, c.send(s, amqp.NewMessage([]byte("x"))))
		if early := time.Until(b.Events()[0].Enqueued.Time); early < 29*time.Minute {
			t.Errorf("the event is stamped %v ahead, want 30 minutes", early)
		}
		if b.Queued("pi-17") != 1 {
			t.Error("the command has expired half an hour early")
		}
		b.SetClockOffset(2 * time.Hour)
		synctest.Wait()
		if err := s.Send(t.Context(), amqp.NewMessage([]byte("x")), nil); err == nil {
			t.Error("the link has outlived its token")
		} else if condition, _ := remoteCondition(err); condition != amqp.ErrCondUnauthorizedAccess {
			t.Errorf("the link ended with %v", err)
		}
		if b.Queued("pi-17") != 0 {
			t.Error("the command has not expired")
		}
		pair := b.connect(nil).cbs()
		if status, _, _ := pair.put("1", "n", b.deviceToken(time.Hour)); status != 401 {
			t.Errorf("a fresh token: %d, want 401", status)
		}
		b.SetClockOffset(0)
		if status, _, _ := pair.put("1", "n", b.deviceToken(time.Hour)); status != 200 {
			t.Errorf("a fresh token by the right clock: %d, want 200", status)
		}
	})
}

func TestResetFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		b.SetAckRules(hubsim.AckRule{Verdict: hubsim.Verdict{Outcome: hubsim.Lose}})
		b.SetThrottle(&hubsim.Throttle{Rate: 0.001})
		b.SetTelemetryCredit(0)
		b.SetSessionWindow(0)
		b.SetClockOffset(-2 * time.Hour)
		b.RejectNextTokens(99, 500, "no")
		b.RefuseConnections(true)
		b.SetHole(hubsim.HoleIn)
		b.SetReadRate(1)
		b.RefuseNextAttach(eventsAddress, "amqp:internal-error", "")
		b.LoseSettlements(9)
		b.SetOmitNextIncomingID(true)
		b.RefuseIdleTimeouts(time.Hour)
		b.RedirectNextConnection(hubsim.Target{Host: "h", Port: 1})
		b.ResetFaults()
		c := b.connectDevice()
		start := time.Now()
		s := c.sender(eventsAddress)
		accepted(t, c.send(s, amqp.NewMessage([]byte("1"))))
		accepted(t, c.send(s, amqp.NewMessage([]byte("2"))))
		if took := time.Since(start); took != 0 {
			t.Errorf("two messages took %v", took)
		}
	})
}
