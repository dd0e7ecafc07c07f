package iothub_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/transport"
)

// A FLOW without next-incoming-id, in the middle of a session and for far longer than its window, ends nothing.
func TestTrap03FlowWithoutNextIncomingID(t *testing.T) {
	run(t, &hubsim.Options{OmitNextIncomingID: true, Retention: 20000}, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		const n = 5_500 // the library's window is 5 000 frames
		pump(t, c, n)
		if b.Accepted() != n || c.Err() != nil {
			t.Errorf("%d of %d accepted, %v", b.Accepted(), n, c.Err())
		}
	})
}

// The hub's settle modes are taken, whatever they are: asking for others would fail the attach.
func TestTrap08SettleModesAreTheHubs(t *testing.T) {
	for _, second := range []bool{false, true} {
		run(t, &hubsim.Options{CommandsSecond: second}, func(t *testing.T, b *bed) {
			c := b.dial(b.options())
			if err := b.SendCommand(device, command("a", "x")); err != nil {
				t.Fatal(err)
			}
			d, err := c.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Settle(t.Context(), d, iothub.Accept, ""); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			if n := b.Queued(device); n != 0 {
				t.Errorf("second %v: %d commands left", second, n)
			}
		})
	}
}

// The library's error for a refused SASL exchange has no type; whichever code the hub uses, it is one of authentication.
func TestTrap13RefusedSASLHasAClass(t *testing.T) {
	for _, code := range []uint8{1, 2, 3, 4} {
		run(t, &hubsim.Options{SASLFailure: code}, func(t *testing.T, b *bed) {
			o := b.options()
			o.Auth, o.DeviceID = iothub.AuthSASPlain, "nobody"
			_, err := iothub.Dial(t.Context(), o)
			want(t, err, iothub.ClassAuth)
		})
	}
}

// failing is a transport that breaks with an error of its own when it is told to.
type failing struct {
	net.Conn
	why atomic.Pointer[error]
}

func (f *failing) Write(p []byte) (int, error) {
	if why := f.why.Load(); why != nil {
		_ = f.Close()
		return 0, *why
	}
	return f.Conn.Write(p)
}

// The library hides the network's error; whatever it was, the class is the network.
func TestTrap14LostTransportHasAClass(t *testing.T) {
	for _, why := range []error{nil, net.ErrClosed, context.DeadlineExceeded, errors.New("something of the driver's")} {
		run(t, nil, func(t *testing.T, b *bed) {
			var conn *failing
			o := b.options()
			dial := o.Dial
			o.Dial = func(ctx context.Context, e transport.Endpoint) (net.Conn, error) {
				nc, err := dial(ctx, e)
				conn = &failing{Conn: nc}
				return conn, err
			}
			c := b.dial(o)
			if why == nil {
				b.DropConnections()
			} else {
				conn.why.Store(&why)
				if r, err := c.Send(t.Context(), message(1)); err == nil {
					if got := r.Wait(t.Context()); got.State != iothub.Unknown {
						t.Errorf("outcome %+v", got)
					}
				}
			}
			want(t, ended(t, c, time.Second), iothub.ClassNetwork)
		})
	}
}

// What settling costs the library grows with the square of what is unsettled: the credit stays small, whatever is asked for.
func TestTrap15CreditStaysSmall(t *testing.T) {
	run(t, &hubsim.Options{QueueLimit: 200}, func(t *testing.T, b *bed) {
		for range 200 {
			if err := b.SendCommand(device, command("x", "x")); err != nil {
				t.Fatal(err)
			}
		}
		var delivered atomic.Int64
		b.rewrite = func(f []byte) [][]byte {
			if f[10] == 0x14 && !bytes.Contains(f, []byte("status-code")) { // a transfer that does not answer for a token
				delivered.Add(1)
			}
			return [][]byte{f}
		}
		o := b.options()
		o.Credit = 1000
		b.dial(o)
		time.Sleep(time.Second)
		if n := delivered.Load(); n == 0 || n > 50 {
			t.Errorf("%d commands delivered and unsettled, want 50 at most", n)
		}
	})
}

// Messages of many frames go both ways; one that is too large is told from the others before it is sent, and hurts none.
func TestTrap17SeveralFrames(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		for n, size := range []int{200_000, 400_000, 2_000_000, 250_000} {
			m := message(n)
			m.Body = bytes.Repeat([]byte{byte(n)}, size)
			r, err := c.Send(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			o := r.Wait(t.Context())
			if size > iothub.MaxMessage {
				if o.State != iothub.Rejected {
					t.Errorf("%d bytes: %+v", size, o)
				}
				want(t, o.Err, iothub.ClassMessage)
			} else if got := b.Events(); o.State != iothub.Accepted || len(got[len(got)-1].Data()) != size {
				t.Errorf("%d bytes: %+v", size, o)
			}
		}
		body := bytes.Repeat([]byte("0123456789abcde\n"), 4090) // with its annotations more than a frame of 64 KiB
		if err := b.SendCommand(device, command("long", string(body))); err != nil {
			t.Fatal(err)
		}
		d, err := c.Receive(t.Context())
		if err != nil || !bytes.Equal(d.Body, body) {
			t.Errorf("%v, %v", d, err)
		}
	})
}

// A message that is larger than the link takes is told from the others before it is sent.
func TestLargerThanTheLinkTakes(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.rewrite = func(f []byte) [][]byte { // max-message-size, a ulong: 1 MiB becomes 1 000 bytes
			return [][]byte{bytes.Replace(f, []byte{0x80, 0, 0, 0, 0, 0, 0x10, 0, 0}, []byte{0x80, 0, 0, 0, 0, 0, 0, 3, 0xe8}, 1)}
		}
		c := b.dial(b.options())
		if c.MaxMessageSize() != 1000 {
			t.Fatalf("max-message-size %d", c.MaxMessageSize())
		}
		m := message(1)
		m.Body = make([]byte, 1000)
		r, err := c.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		o := r.Wait(t.Context())
		if want(t, o.Err, iothub.ClassMessage); o.State != iothub.Rejected {
			t.Errorf("%+v", o)
		}
		if o := send(t, c, 2); o.State != iothub.Accepted || b.Accepted() != 1 {
			t.Errorf("%+v, %d accepted", o, b.Accepted())
		}
	})
}

// With the connection every receipt ends once, as unknown, and a command that was received cannot be settled any more: the hub delivers it again.
func TestTrap18LossEndsWhatIsPending(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Delay: time.Hour} })
		if err := b.SendCommand(device, command("a", "x")); err != nil {
			t.Fatal(err)
		}
		c := b.dial(b.options())
		d, err := c.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var receipts []*iothub.Receipt
		for n := range 20 {
			r, err := c.Send(t.Context(), message(n))
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, r)
		}
		b.DropConnections()
		for n, r := range receipts {
			for range 3 { // the answer stays the same
				if o := r.Wait(t.Context()); o.State != iothub.Unknown {
					t.Errorf("%d: %+v", n, o)
				}
			}
		}
		if err := c.Settle(t.Context(), d, iothub.Accept, ""); err == nil {
			t.Error("a command was settled on a connection that is gone")
		}
		c = b.dial(b.options())
		if d, err = c.Receive(t.Context()); err != nil || d.MessageID != "a" {
			t.Errorf("again: %+v, %v", d, err)
		}
	})
}

// A hub that settles a message after it has detached its link ends neither the session nor the link that took its place.
func TestTrap06SettlementAfterTheDetach(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		l := alive(t, b)
		defer l.stop()
		b.SetSettleLate(true)
		b.SetAckRules(hubsim.AckRule{Nth: 1, Verdict: hubsim.Verdict{Delay: time.Second + time.Millisecond}}) // before the link is made anew
		l.say()
		time.Sleep(time.Second)
		b.DetachLinks(events, "amqp:link:detach-forced", "Server Busy")
		time.Sleep(time.Minute)
		l.say()
		l.obeys("after")
		l.within(time.Second, "everything accepted", func(s iothub.Status) bool { return l.all() && s.Online() })
		l.undisturbed([]iothub.Part{iothub.Telemetry})
		if n, lost := l.dials.Load(), l.status().Parts[iothub.Telemetry].Losses; n != 1 || lost != 1 {
			t.Errorf("%d connections, the telemetry link lost %d times", n, lost)
		}
	})
}

// A link that is attached and detached in one breath, again and again, is made anew until it stays, on the same connection.
func TestTrap07DetachedRightAfterTheAttach(t *testing.T) {
	for _, address := range []string{events, commands} {
		run(t, nil, func(t *testing.T, b *bed) {
			l := alive(t, b)
			defer l.stop()
			b.DetachNextAttach(address, "amqp:internal-error", "not yet")
			b.DetachLinks(address, "", "")
			time.Sleep(told)
			l.say()
			l.obeys("after")
			l.within(time.Second, "everything accepted", func(s iothub.Status) bool { return l.all() && s.Online() })
			if n := l.dials.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}
