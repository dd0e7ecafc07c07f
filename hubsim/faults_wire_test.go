package hubsim_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

// listening is a hub behind TLS on loopback.
func listening(t *testing.T) (*bed, string, *tls.Config) {
	t.Helper()
	b := newBed(t, nil)
	l, err := b.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(context.WithoutCancel(t.Context()), l) }()
	t.Cleanup(func() {
		_ = b.Close() // again, by newBed
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return b, l.Addr().String(), &tls.Config{RootCAs: b.CertPool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

func TestDropByFINAndByRST(t *testing.T) {
	b, addr, config := listening(t)
	for name, cut := range map[string]func() int{"FIN": b.DropConnections, "RST": b.ResetConnections} {
		nc, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1) // go-amqp keeps the socket's error to itself
		conn, err := amqp.NewConn(t.Context(), &watched{nc, ended}, &amqp.ConnOptions{HostName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		if n := cut(); n != 1 {
			t.Errorf("%s: %d connections cut", name, n)
		}
		err = <-ended
		if reset := errors.Is(err, syscall.ECONNRESET); reset != (name == "RST") {
			t.Errorf("%s: the client saw %v", name, err)
		}
		_ = conn.Close() // it has ended
		if err := b.WaitFor(stepContext(t), func() bool { return b.Connections() == 0 }); err != nil {
			t.Error(err)
		}
	}
}

func TestBlackHoleBeforeTLS(t *testing.T) {
	b, addr, config := listening(t)
	b.SetHole(hubsim.HoleTCP)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	nc, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = nc.Close()
		t.Fatal("TLS was answered")
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want silence", err)
	}
	b.SetHole(hubsim.HoleNone)
	nc, err = (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	openClient(t, nc, nil)
}

func TestHalfOpenConnections(t *testing.T) {
	for hole, stored := range map[hubsim.Hole]int{hubsim.HoleIn: 0, hubsim.HoleOut: 1, hubsim.HoleAll: 0} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t, nil)
			c := b.connectDevice()
			s := c.sender(eventsAddress)
			synctest.Wait() // the credit is there
			b.SetHole(hole)
			receipt, err := s.SendWithReceipt(t.Context(), amqp.NewMessage([]byte("x")), nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
			defer cancel()
			_, err = receipt.Wait(ctx)
			// Heartbeats keep a client up to whom they come, beyond its idle timeout of a minute.
			if lives := errors.Is(err, context.DeadlineExceeded); lives != (hole == hubsim.HoleIn) {
				t.Errorf("hole %d: after 150 s the client says %v", hole, err)
			}
			if n := b.Accepted(); n != stored {
				t.Errorf("hole %d: %d stored, want %d", hole, n, stored)
			}
			b.SetHole(hubsim.HoleNone)
		})
	}
}

func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		s := c.sender(eventsAddress)
		synctest.Wait()
		b.SetReadRate(1000)
		accepted(t, c.send(s, amqp.NewMessage([]byte("x")))) // ends the read that waits already, for any number of bytes
		start := time.Now()
		receipt, err := s.SendWithReceipt(t.Context(), amqp.NewMessage(bytes.Repeat([]byte("x"), 10_000)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := receipt.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 5*time.Second || took > 15*time.Second {
			t.Errorf("10 kB at 1 kB/s took %v", took)
		}
		b.SetReadRate(0)
		start = time.Now()
		accepted(t, c.send(s, amqp.NewMessage(bytes.Repeat([]byte("x"), 10_000))))
		if took := time.Since(start); took > time.Second {
			t.Errorf("at full speed it took %v", took)
		}
	})
}

func TestQuirksOfConnectionsToCome(t *testing.T) {
	b := newBed(t, nil)
	b.SetOmitNextIncomingID(true)
	c := b.connect(nil)
	out, err := c.NewSender(stepContext(t), "$cbs", nil)
	if err == nil { // the FLOW comes after the attach
		err = out.Send(stepContext(t), tokenRequest("1", "n", "x"), nil)
	}
	if err == nil || !strings.Contains(err.Error(), "next-incoming-id") {
		t.Errorf("got %v, want go-amqp's complaint about next-incoming-id", err)
	}
	b.SetOmitNextIncomingID(false)
	b.RefuseIdleTimeouts(time.Minute)
	nc, err := b.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := amqp.NewConn(t.Context(), nc, &amqp.ConnOptions{IdleTimeout: time.Minute}) // it announces half
	if err == nil {
		<-conn.Done()
		err = conn.Err()
	}
	if condition, _ := remoteCondition(err); condition != amqp.ErrCondNotAllowed {
		t.Errorf("got %v, want amqp:not-allowed", err)
	}
	b.RefuseIdleTimeouts(0)
	b.connectDevice()
}

func TestSwallowedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		pair := b.connect(nil).cbs()
		b.SwallowNextTokens(1)
		if err := pair.out.Send(t.Context(), tokenRequest("1", "n", b.deviceToken(time.Hour)), nil); err != nil {
			t.Fatal(err)
		}
		if status, _, id := pair.put("2", "n", b.deviceToken(time.Hour)); status != 200 || id != "2" {
			t.Errorf("the second request: %d for %v", status, id)
		}
	})
}

func TestResetReachesBelowAWebSocket(t *testing.T) {
	b := newBed(t, nil)
	w := b.serveWeb()
	ended := make(chan error, 1)
	conn, err := amqp.NewConn(t.Context(), &watched{w.dialWeb(""), ended}, &amqp.ConnOptions{HostName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // it has ended
	if n := b.ResetConnections(); n != 1 {
		t.Errorf("%d connections cut", n)
	}
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v", err)
	}
}

// watched tells the first error of Read.
type watched struct {
	net.Conn
	ended chan error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		select {
		case w.ended <- err:
		default:
		}
	}
	return n, err
}
