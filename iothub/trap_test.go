package iothub_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
)

// These tests are named after the behaviours of go-amqp v1.7.0 that the client guards against.

func TestTrap01ReleasedIsNotSuccess(t *testing.T) {
	tests := []struct {
		verdict hubsim.Verdict
		state   iothub.State
		class   iothub.Class
	}{
		{hubsim.Verdict{Outcome: hubsim.Release}, iothub.Released, iothub.ClassServer},
		{hubsim.Verdict{Outcome: hubsim.Modify}, iothub.Modified, iothub.ClassServer},
		{hubsim.Verdict{Outcome: hubsim.Reject}, iothub.Rejected, iothub.ClassUnknown},
		{hubsim.Verdict{Outcome: hubsim.Reject, Condition: "amqp:link:message-size-exceeded"}, iothub.Rejected, iothub.ClassMessage},
		{hubsim.Verdict{Outcome: hubsim.Reject, Condition: "amqp:decode-error"}, iothub.Rejected, iothub.ClassMessage},
		{hubsim.Verdict{Outcome: hubsim.Reject, Condition: "amqp:resource-limit-exceeded"}, iothub.Rejected, iothub.ClassQuota},
		{hubsim.Verdict{Outcome: hubsim.Reject, Condition: "com.microsoft:device-container-throttled"}, iothub.Rejected, iothub.ClassThrottled},
		{hubsim.Verdict{Outcome: hubsim.Reject, Condition: "amqp:internal-error"}, iothub.Rejected, iothub.ClassServer},
		{hubsim.Verdict{Outcome: hubsim.Reject, Condition: "com.contoso:odd", Description: "hm"}, iothub.Rejected, iothub.ClassUnknown},
	}
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		for n, tt := range tests {
			b.OnTelemetry(func(string, int) hubsim.Verdict { return tt.verdict })
			o := send(t, c, n)
			if o.State != tt.state {
				t.Errorf("%+v: outcome %+v", tt.verdict, o)
			}
			if e := want(t, o.Err, tt.class); e.Condition != tt.verdict.Condition || e.Description != tt.verdict.Description {
				t.Errorf("error %+v", e)
			}
		}
	})
}

// Dispositions and the detach after them arrive together; every outcome counts, at the first call of Wait.
func TestTrap02OutcomesBeforeADetach(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		var held []byte
		detached := false // then nothing is held any more
		b.rewrite = func(f []byte) [][]byte {
			switch {
			case f[10] == 0x15 && !detached:
				held = append(held, f...)
				return nil
			case f[10] == 0x16 && held != nil:
				f, held, detached = append(held, f...), nil, true
			}
			return [][]byte{f}
		}
		c := b.dial(b.options())
		var receipts []*iothub.Receipt
		for n := range 200 {
			r, err := c.Send(t.Context(), message(n))
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, r)
		}
		if _, err := b.WaitEvents(t.Context(), len(receipts)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		b.DetachLinks("/devices/"+device+"/messages/events", "amqp:link:detach-forced", "Server Busy")
		for n, r := range receipts {
			if o := r.Wait(t.Context()); o.State != iothub.Accepted {
				t.Fatalf("%d: %+v", n, o)
			}
		}
		healed(t, c, b, 200)
	})
}

func TestTrap04FlowWithoutCredit(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.rewrite = func(f []byte) [][]byte {
			if f[10] != 0x13 || f[11] != 0xc0 && f[11] != 0xd0 {
				return [][]byte{f}
			}
			// After each flow, one more for the same session that names handles but no credit.
			bad := frame(f, 0, 0x53, 0x13, 0xc0, 12, 6, 0x43, 0x70, 0, 0, 16, 0, 0x43, 0x52, 200, 0x43, 0x43)
			return [][]byte{f, bad}
		}
		c := b.dial(b.options())
		for n := range 3 {
			if o := send(t, c, n); o.State != iothub.Accepted {
				t.Errorf("outcome %+v", o)
			}
		}
	})
}

// A disposition for a link that is gone would end the library's session: it does not get there.
func TestTrap06LateDisposition(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		b.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Delay: time.Minute / 2} })
		r, err := c.Send(t.Context(), message(1))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		b.DetachLinks("/devices/"+device+"/messages/events", "amqp:link:detach-forced", "moving")
		if o := r.Wait(t.Context()); o.State != iothub.Unknown {
			t.Errorf("outcome %+v", o)
		}
		b.OnTelemetry(nil)
		healed(t, c, b, 2)
		time.Sleep(time.Minute)
		healed(t, c, b, 3)
	})
}

func TestTrap07RefusedAttach(t *testing.T) {
	tests := []struct {
		node, op, condition, description string
		class                            iothub.Class
	}{
		{"events", "attach telemetry", "amqp:not-found", `{"errorCode":404001,"message":"gone"}`, iothub.ClassAuth},
		{"events", "attach telemetry", "amqp:unauthorized-access", "no", iothub.ClassAuth},
		{"devicebound", "attach command", "amqp:resource-limit-exceeded", `"{\"errorCode\":429001}"`, iothub.ClassThrottled},
		{"devicebound", "attach command", "com.contoso:odd", "hm", iothub.ClassUnknown},
	}
	for _, tt := range tests {
		run(t, nil, func(t *testing.T, b *bed) {
			b.RefuseNextAttach("/devices/"+device+"/messages/"+tt.node, tt.condition, tt.description)
			_, err := iothub.Dial(t.Context(), b.options())
			if e := want(t, err, tt.class); e.Condition != tt.condition {
				t.Errorf("error %+v", e)
			}
			c := b.dial(b.options()) // the next is not refused
			if o := send(t, c, 1); o.State != iothub.Accepted {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

// An idle link that the hub takes away is noticed at once, be it the one or the other.
func TestTrap07DetachedWhileIdle(t *testing.T) {
	for _, node := range []string{"events", "devicebound"} {
		for _, condition := range []string{"", "amqp:link:stolen"} {
			run(t, nil, func(t *testing.T, b *bed) {
				c := b.dial(b.options())
				time.Sleep(time.Minute)
				if n := b.DetachLinks("/devices/"+device+"/messages/"+node, condition, "x"); n != 1 {
					t.Fatalf("%d links", n)
				}
				if condition != "" {
					want(t, ended(t, c, time.Second), iothub.ClassDisplaced)
					return
				}
				healed(t, c, b, 1)
			})
		}
	}
}

// A detach that does not close, which the library would wait after for ever, is a loss like any other.
func TestTrap10NonClosingDetach(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.rewrite = func(f []byte) [][]byte {
			if f[10] != 0x16 {
				return [][]byte{f}
			}
			return [][]byte{bytes.Replace(f, []byte{0x41}, []byte{0x42}, 1)}
		}
		c := b.dial(b.options())
		b.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Outcome: hubsim.Lose} })
		r, err := c.Send(t.Context(), message(1))
		if err != nil {
			t.Fatal(err)
		}
		b.DetachLinks("", "", "")
		if o := r.Wait(t.Context()); o.State != iothub.Unknown {
			t.Errorf("outcome %+v", o)
		}
		b.OnTelemetry(nil)
		healed(t, c, b, 2)
	})
}

func TestTrap11EmptyMessage(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		r, err := c.Send(t.Context(), &iothub.Message{ID: "empty"})
		if err != nil {
			t.Fatal(err)
		}
		if o := r.Wait(t.Context()); o.State != iothub.Accepted || len(b.Events()) != 1 || len(b.Events()[0].Data()) != 0 {
			t.Errorf("outcome %+v, events %v", o, b.Events())
		}
	})
}

// A context that ends while a message of several frames is on its way leaves no half of it behind.
func TestTrap12CancelInMidTransfer(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		whole := 0
		for n := range 50 {
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			m := message(n)
			m.Body = bytes.Repeat([]byte{byte(n)}, 200_000)
			r, err := c.Send(ctx, m)
			if errors.Is(err, context.Canceled) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if o := r.Wait(t.Context()); o.State != iothub.Accepted {
				t.Fatalf("outcome %+v", o)
			}
			whole++
		}
		for _, e := range b.Events() {
			if body := e.Data(); len(body) != 200_000 || bytes.Count(body, body[:1]) != len(body) {
				t.Errorf("%s has %d bytes", e.MessageID, len(body))
			}
		}
		if b.Accepted() != whole {
			t.Errorf("%d accepted, %d sent", b.Accepted(), whole)
		}
	})
}

// A hub whose window closes holds Send back for as long as the context lasts and not longer.
func TestTrap21ClosedWindow(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		open := true
		b.rewrite = func(f []byte) [][]byte {
			if f[10] == 0x11 { // BEGIN: incoming-window 3
				return [][]byte{withUint(f, 2, 3)}
			}
			if f[10] == 0x13 && !open {
				return nil
			}
			if f[10] == 0x13 {
				return [][]byte{withUint(f, 1, 3)}
			}
			return [][]byte{f}
		}
		c := b.dial(b.options())
		open = false
		var err error
		sent := 0
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for err == nil {
			if _, err = c.Send(ctx, message(sent)); err == nil {
				sent++
			}
		}
		if !errors.Is(err, context.DeadlineExceeded) || sent > 3 || c.Err() != nil {
			t.Errorf("%d sent, %v, %v", sent, err, c.Err())
		}
	})
}

// A window too small for a message stops it half way: the link is given up, and the connection lives on.
func TestTrap21StuckHalfWay(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.rewrite = func(f []byte) [][]byte {
			switch f[10] {
			case 0x11:
				return [][]byte{withUint(f, 2, 2)}
			case 0x13:
				return [][]byte{withUint(withUint(f, 1, 2), 0, 0)}
			}
			return [][]byte{f}
		}
		c := b.dial(b.options())
		m := message(1)
		m.Body = make([]byte, 250_000)
		start := time.Now()
		r, err := c.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		o := r.Wait(t.Context())
		want(t, o.Err, iothub.ClassNetwork)
		if took, losses := time.Since(start), c.Status().Parts[iothub.Telemetry].Losses; took > 90*time.Second || o.State != iothub.Unknown || losses != 1 || c.Err() != nil {
			t.Errorf("%+v after %v, %d losses, %v", o, took, losses, c.Err())
		}
	})
}

func TestTrap16SettlementIsNotConfirmed(t *testing.T) {
	run(t, &hubsim.Options{CommandsSecond: true}, func(t *testing.T, b *bed) {
		b.rewrite = func(f []byte) [][]byte {
			if f[10] == 0x15 && bytes.Contains(f[11:16], []byte{0x42}) { // of role sender: a confirmation
				return nil
			}
			return [][]byte{f}
		}
		c := b.dial(b.options())
		if err := b.SendCommand(device, command("a", "x")); err != nil {
			t.Fatal(err)
		}
		d, err := c.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Settle(ctx, d, iothub.Accept, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("settle: %v", err)
		}
		time.Sleep(time.Minute) // the link is given up
		if h := c.Status().Parts[iothub.Command]; h.Losses != 1 || !h.Fine() {
			t.Errorf("command link %+v", h)
		}
		if err := b.SendCommand(device, command("b", "x")); err != nil {
			t.Fatal(err)
		}
		if d, err = c.Receive(t.Context()); err != nil || d.MessageID != "b" || b.Sockets() != 1 {
			t.Errorf("%+v, %v; %d connections", d, err, b.Sockets())
		}
	})
}

func TestLockLost(t *testing.T) {
	run(t, &hubsim.Options{CommandsSecond: true}, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		if err := b.SendCommand(device, command("a", "x")); err != nil {
			t.Fatal(err)
		}
		d, err := c.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(70 * time.Second)
		want(t, c.Settle(t.Context(), d, iothub.Accept, ""), iothub.ClassMessage)
		if d, err = c.Receive(t.Context()); err != nil || d.MessageID != "a" {
			t.Fatalf("%+v, %v", d, err)
		}
		if err := c.Settle(t.Context(), d, iothub.Accept, ""); err != nil {
			t.Error(err)
		}
	})
}

// A connection that ends while messages are being written lets every Send return: the library's own waits for ever for a link that is gone
// when its context ends before the write and the link before it is told.
func TestTrap22EndInMidSend(t *testing.T) {
	for range 300 {
		run(t, nil, func(t *testing.T, b *bed) {
			c := b.dial(b.options())
			var flood sync.WaitGroup
			flood.Go(func() {
				for n := 0; ; n++ {
					if _, err := c.Send(t.Context(), message(n)); err != nil {
						return
					}
				}
			})
			if _, err := b.WaitEvents(t.Context(), 20); err != nil {
				t.Fatal(err)
			}
			b.DetachLinks("", "amqp:link:detach-forced", "Server Busy. Please retry operation")
			before := b.Accepted()
			if _, err := b.WaitEvents(t.Context(), before+20); err != nil { // on the next link
				t.Fatal(err)
			}
			b.CloseConnections("amqp:connection:forced", "Server Busy. Please retry operation")
			flood.Wait()
			want(t, ended(t, c, time.Minute), iothub.ClassServer)
		})
	}
}
