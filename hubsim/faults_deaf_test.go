package hubsim_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

// silent fails the test if a sender hears of a message within a minute.
func (c *client) silent(s *amqp.Sender) {
	c.t.Helper()
	r, err := s.SendWithReceipt(c.t.Context(), amqp.NewMessage([]byte("x")), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	if state, err := r.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		c.t.Errorf("a deaf link answered: %v %v", state, err)
	}
}

func TestDeafLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		s, r := c.sender(eventsAddress), c.receiver(commandsAddress, nil)
		synctest.Wait() // the credit is there
		if n := b.SetDeaf("devices/pi-17/messages/Events", hubsim.DeafNow); n != 1 {
			t.Fatalf("%d links are deaf", n)
		}
		c.silent(s)
		if b.Accepted() != 0 {
			t.Error("a deaf link took a message")
		}
		if err := b.SendCommand("pi-17", amqp.NewMessage([]byte("x"))); err != nil {
			t.Fatal(err)
		}
		c.receive(r)
		accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte("x")))) // attached anew on the same session
		if b.Connections() != 1 {
			t.Errorf("%d connections", b.Connections())
		}
	})
}

func TestDeafToNewLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		old := c.sender(eventsAddress)
		c.receiver(commandsAddress, nil)
		synctest.Wait()
		if n := b.SetDeaf("", hubsim.Deaf); n != 2 {
			t.Fatalf("%d links are deaf, want both but those to $cbs", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.NewSender(ctx, eventsAddress, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an attach was answered: %v", err)
		}
		again := b.connectDevice() // $cbs hears
		b.SetDeaf("", hubsim.Hearing)
		c.silent(old)
		accepted(t, again.send(again.sender(eventsAddress), amqp.NewMessage([]byte("x"))))
	})
}

func TestSuspendAndEnd(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	c.sender(eventsAddress)
	// Strict clients wait for ever after a DETACH that does not close; that it is sent is shown in amqpd.
	if n := b.SuspendLinks(eventsAddress, "amqp:link:detach-forced", ""); n != 1 || len(b.Links("pi-17")) != 0 {
		t.Errorf("%d links suspended, %v left", n, b.Links("pi-17"))
	}

	c = b.connectDevice()
	own, err := c.conn.NewSession(stepContext(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := own.NewSender(stepContext(t), eventsAddress, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := b.EndSessions("amqp:internal-error", "moving"); n != 1 {
		t.Errorf("%d sessions ended, want the one without $cbs", n)
	}
	err = s.Send(stepContext(t), amqp.NewMessage([]byte("x")), nil)
	if condition, _ := remoteCondition(err); condition != amqp.ErrCondInternalError {
		t.Errorf("the session ended with %v", err)
	}
	accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte("x")))) // on the session that is left
}

func TestDetachNextAttach(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	b.DetachNextAttach(eventsAddress, "amqp:unauthorized-access", "Token Invalid.")
	s, err := c.NewSender(stepContext(t), eventsAddress, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Send(stepContext(t), amqp.NewMessage([]byte("x")), nil)
	if condition, _ := remoteCondition(err); condition != amqp.ErrCondUnauthorizedAccess {
		t.Errorf("got %v", err)
	}
	accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte("x"))))
}

// A settlement after the end of its link ends the session of a strict client; without the fault it is left out.
func TestSettlementAfterTheLink(t *testing.T) {
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t, nil)
			c := b.connectDevice()
			s := c.sender(eventsAddress)
			b.SetSettleLate(late)
			b.AddAckRule(hubsim.AckRule{Verdict: hubsim.Verdict{Delay: time.Second}})
			if _, err := s.SendWithReceipt(t.Context(), amqp.NewMessage([]byte("x")), nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the hub has it
			b.DetachLinks(eventsAddress, "", "")
			<-time.After(2 * time.Second)
			_, err := c.NewSender(stepContext(t), commandsAddress+"/none", nil)
			if _, ended := errors.AsType[*amqp.SessionError](err); ended != late {
				t.Errorf("late %v: %v", late, err)
			}
		})
	}
}

func TestMuteEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		b.SetMuteEcho(true)
		// go-amqp asks for no echo: that none is answered is shown in amqpd. Everything else goes on.
		accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte("x"))))
		r := c.receiver(commandsAddress, &amqp.ReceiverOptions{Credit: -1})
		if err := r.IssueCredit(3); err != nil {
			t.Fatal(err)
		}
		if err := r.DrainCredit(stepContext(t), nil); err != nil {
			t.Errorf("drain: %v", err)
		}
	})
}

func TestMetering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, &hubsim.Options{Now: time.Now})
		c := b.connectDevice()
		s := c.sender(eventsAddress)
		want := 0
		for size, units := range map[int]int{0: 1, 1: 1, 4096: 1, 4097: 2, 10_000: 3} {
			accepted(t, c.send(s, amqp.NewMessage(bytes.Repeat([]byte{'x'}, size))))
			want += units
		}
		if got := b.Metered("pi-17"); got != want {
			t.Errorf("%d units, want %d", got, want)
		}
		var batch amqp.Message
		batch.Format = 0x80013700
		for range 3 {
			inner, err := amqp.NewMessage(bytes.Repeat([]byte{'x'}, 5000)).MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			batch.Data = append(batch.Data, inner)
		}
		accepted(t, c.send(s, &batch))
		b.AddAckRule(hubsim.AckRule{Verdict: hubsim.Verdict{Outcome: hubsim.Release}})
		c.send(s, amqp.NewMessage([]byte("released"))) // does not count
		b.SetAckRules()
		if got := b.Metered("pi-17"); got != want+6 {
			t.Errorf("%d units after a batch of three, want %d", got, want+6)
		}
		<-time.After(23 * time.Hour)
		b.SetClockOffset(time.Hour)
		if got := b.Metered("pi-17") + b.Metered("nobody"); got != 0 {
			t.Errorf("%d units on the next day", got)
		}
	})
}
