package hubsim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

func remoteCondition(err error) (amqp.ErrCond, bool) {
	var remote *amqp.Error
	if errors.As(err, &remote) {
		return remote.Condition, true
	}
	return "", false
}

func TestOnTelemetryDecidesEachOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		s := c.sender(eventsAddress)
		b.OnTelemetry(func(_ string, nth int) hubsim.Verdict {
			return map[int]hubsim.Verdict{
				1: {Outcome: hubsim.Release},
				2: {Outcome: hubsim.Reject, Condition: "com.microsoft:device-container-throttled", Description: "slow down"},
				3: {Outcome: hubsim.Reject},
				4: {Outcome: hubsim.Modify},
				5: {Outcome: hubsim.Lose},
				6: {Delay: 10 * time.Second},
			}[nth]
		})
		if _, ok := c.send(s, amqp.NewMessage([]byte("1"))).(*amqp.StateReleased); !ok {
			t.Error("1 was not released")
		}
		rejectedWith(t, c.send(s, amqp.NewMessage([]byte("2"))), "com.microsoft:device-container-throttled")
		if r, ok := c.send(s, amqp.NewMessage([]byte("3"))).(*amqp.StateRejected); !ok || r.Error != nil {
			t.Errorf("3: %#v", r)
		}
		if _, ok := c.send(s, amqp.NewMessage([]byte("4"))).(*amqp.StateModified); !ok {
			t.Error("4 was not modified")
		}
		if b.Accepted() != 0 {
			t.Errorf("%d stored, want none", b.Accepted())
		}
		lost, err := s.SendWithReceipt(t.Context(), amqp.NewMessage([]byte("5")), nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		accepted(t, c.send(s, amqp.NewMessage([]byte("6"))))
		if wait := time.Since(start); wait < 10*time.Second {
			t.Errorf("6 was settled after %v, want 10 s", wait)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if state, err := lost.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the lost acknowledgement came: %v %v", state, err)
		}
		if b.Accepted() != 2 {
			t.Errorf("%d stored, want 2", b.Accepted())
		}
	})
}

func TestTokenFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		pair := b.connect(nil).cbs()
		b.RejectNextTokens(2, 500, "server fault")
		for _, want := range []int32{500, 500, 200} {
			if status, _, _ := pair.put("1", "n", b.deviceToken(time.Hour)); status != want {
				t.Errorf("status %d, want %d", status, want)
			}
		}
		if b.TokenRequests() != 3 {
			t.Errorf("%d requests counted", b.TokenRequests())
		}
		b.OnToken(func(int) hubsim.TokenVerdict { return hubsim.TokenVerdict{Swallow: true} })
		if err := pair.out.Send(t.Context(), tokenRequest("1", "n", b.deviceToken(time.Hour)), nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := pair.in.Receive(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a swallowed request was answered: %v", err)
		}
	})
}

func TestDropAndClose(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	if n := b.DropConnections(); n != 1 {
		t.Errorf("%d dropped", n)
	}
	<-c.conn.Done()
	if condition, ok := remoteCondition(c.conn.Err()); ok {
		t.Errorf("a dropped connection said %s", condition)
	}
	c = b.connectDevice()
	b.CloseConnections("amqp:connection:forced", "upgrade")
	<-c.conn.Done()
	if condition, _ := remoteCondition(c.conn.Err()); condition != amqp.ErrCondConnectionForced {
		t.Errorf("ended with %v", c.conn.Err())
	}
	if err := b.WaitFor(stepContext(t), func() bool { return b.Connections() == 0 }); err != nil {
		t.Error(err)
	}
}

func TestDetachLinksByAddress(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	s, r := c.sender(eventsAddress), c.receiver(commandsAddress, nil)
	if n := b.DetachLinks("devices/pi-17/messages/deviceBound", "amqp:link:detach-forced", "Server Busy"); n != 1 {
		t.Fatalf("%d links detached", n)
	}
	_, err := r.Receive(stepContext(t), nil)
	if condition, _ := remoteCondition(err); condition != amqp.ErrCondDetachForced {
		t.Errorf("got %v", err)
	}
	accepted(t, c.send(s, amqp.NewMessage([]byte("x"))))
	if got := b.Links("pi-17"); len(got) != 1 || got[0] != eventsAddress {
		t.Errorf("links %v", got)
	}
	if n := b.DetachLinks("", "", ""); n != 1 {
		t.Errorf("%d links detached, want the one left beside $cbs", n)
	}
	if err := s.Send(stepContext(t), amqp.NewMessage([]byte("x")), nil); err == nil {
		t.Error("a detached link took a message")
	}
}

func TestRefusals(t *testing.T) {
	b := newBed(t, nil)
	b.RefuseConnections(true)
	if _, err := b.Dial(t.Context()); err == nil {
		t.Error("a connection was taken")
	}
	b.RefuseConnections(false)
	c := b.connectDevice()
	b.RefuseNextAttach(eventsAddress, "com.microsoft:timeout", "")
	if _, err := c.NewSender(stepContext(t), eventsAddress, nil); err == nil {
		t.Error("the link was taken")
	} else if condition, _ := remoteCondition(err); condition != "com.microsoft:timeout" {
		t.Errorf("got %v", err)
	}
	c.sender(eventsAddress)
}

func TestNoCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		b.SetTelemetryCredit(0)
		c := b.connectDevice()
		s := c.sender(eventsAddress)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Send(ctx, amqp.NewMessage([]byte("x")), nil); err == nil {
			t.Error("sent without credit")
		}
		b.SetTelemetryCredit(10)
		accepted(t, c.send(s, amqp.NewMessage([]byte("x"))))
	})
}

func TestBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		s := c.sender(eventsAddress)
		synctest.Wait() // the credit is there
		b.BlackHole(true)
		receipt, err := s.SendWithReceipt(t.Context(), amqp.NewMessage([]byte("x")), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := receipt.Wait(t.Context()); err == nil {
			t.Error("the black hole answered")
		}
		if b.Accepted() != 0 {
			t.Error("the black hole stored a message")
		}
		b.BlackHole(false)
		b.DropConnections()
		c = b.connectDevice()
		accepted(t, c.send(c.sender(eventsAddress), amqp.NewMessage([]byte("x"))))
	})
}

func TestOmitNextIncomingIDEndsAStrictClientsSession(t *testing.T) {
	b := newBed(t, &hubsim.Options{OmitNextIncomingID: true})
	c := b.connect(nil)
	out, err := c.NewSender(stepContext(t), "$cbs", nil)
	if err == nil { // the FLOW comes after the attach
		err = out.Send(stepContext(t), tokenRequest("1", "n", "x"), nil)
	}
	if err == nil || !strings.Contains(err.Error(), "next-incoming-id") {
		t.Errorf("got %v, want go-amqp's complaint about next-incoming-id", err)
	}
}

func TestShortIdleTimeoutIsRefused(t *testing.T) {
	b := newBed(t, nil)
	nc, err := b.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := amqp.NewConn(t.Context(), nc, &amqp.ConnOptions{IdleTimeout: 8 * time.Second}) // it announces half
	if err == nil {
		<-conn.Done()
		err = conn.Err()
	}
	if condition, _ := remoteCondition(err); condition != amqp.ErrCondNotAllowed {
		t.Errorf("got %v, want amqp:not-allowed", err)
	}
}

func TestCloseTellsTheClients(t *testing.T) {
	b := newBed(t, nil)
	c := b.connectDevice()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	<-c.conn.Done()
	if condition, _ := remoteCondition(c.conn.Err()); condition != amqp.ErrCondConnectionForced {
		t.Errorf("ended with %v", c.conn.Err())
	}
	if _, err := b.Dial(t.Context()); !errors.Is(err, hubsim.ErrClosed) {
		t.Errorf("dial: %v, want ErrClosed", err)
	}
	if err := b.WaitFor(t.Context(), func() bool { return false }); !errors.Is(err, hubsim.ErrClosed) {
		t.Errorf("wait: %v, want ErrClosed", err)
	}
}

// TestMSSBCBS speaks the start of the protocol by hand, because go-amqp lacks this mechanism.
func TestMSSBCBS(t *testing.T) {
	b := newBed(t, nil)
	nc, err := b.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	if err := nc.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const header = "AMQP\x03\x01\x00\x00"
	write := func(s string) {
		t.Helper()
		if _, err := io.WriteString(nc, s); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _, _ = io.WriteString(nc, header) }()
	got := make([]byte, 8)
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != header {
		t.Fatalf("header %q, %v", got, err)
	}
	if mechanisms := readFrame(t, nc); !strings.Contains(mechanisms, "MSSBCBS") || !strings.Contains(mechanisms, "PLAIN") {
		t.Errorf("mechanisms %q", mechanisms)
	}
	write("\x00\x00\x00\x19\x02\x01\x00\x00" + "\x00\x53\x41\xc0\x0c\x02\xa3\x07MSSBCBS\xa0\x00")
	if outcome := readFrame(t, nc); !strings.Contains(outcome, "\x00\x53\x44") || !strings.Contains(outcome, "\x50\x00") {
		t.Errorf("outcome % x, want code 0", outcome)
	}
}

func readFrame(t *testing.T, nc net.Conn) string {
	t.Helper()
	size := make([]byte, 4)
	if _, err := io.ReadFull(nc, size); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, int(size[2])<<8+int(size[3])-4)
	if _, err := io.ReadFull(nc, rest); err != nil {
		t.Fatal(err)
	}
	return string(rest)
}
