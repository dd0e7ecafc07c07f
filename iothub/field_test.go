package iothub_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/transport"
)

// These tests are named after what has hurt others in the field (docs/link.md).

// A day of tokens of ten minutes, idle, with a hub that grants no grace: one connection.
func TestFieldTokenLastsADay(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		o := b.options()
		o.TokenTTL = 10 * time.Minute
		c := b.dial(o)
		for range 24 {
			time.Sleep(time.Hour)
			if c.Err() != nil {
				t.Fatal(c.Err())
			}
		}
		if o := send(t, c, 1); o.State != iothub.Accepted || len(b.Links(device)) != 2 {
			t.Errorf("%+v, links %v", o, b.Links(device))
		}
	})
}

// Thousands of commands, with settlements lost among them: none stays away, the link does not fall silent.
func TestFieldCommandsDoNotFallSilent(t *testing.T) {
	for _, second := range []bool{false, true} {
		run(t, &hubsim.Options{QueueLimit: 100, CommandsSecond: second, Retention: 10}, func(t *testing.T, b *bed) {
			c := b.dial(b.options())
			const n = 2500 // others stopped at 2 047
			got := map[string]bool{}
			var wg sync.WaitGroup
			wg.Go(func() {
				for len(got) < n || b.Queued(device) > 0 {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
					d, err := c.Receive(ctx)
					cancel()
					if err != nil && len(got) == n && b.Queued(device) == 0 {
						return // the hub has read the last settlement meanwhile
					}
					if err != nil {
						t.Error(err)
						return
					}
					got[d.MessageID] = true
					if err := c.Settle(t.Context(), d, iothub.Accept, ""); err != nil && !second {
						t.Error(err)
						return
					}
				}
			})
			for i := range n {
				if err := b.WaitFor(t.Context(), func() bool { return b.Queued(device) < 90 }); err != nil {
					t.Fatal(err)
				}
				if !second && i%100 == 0 { // where nobody waits for the answer
					b.LoseSettlements(1)
				}
				if err := b.SendCommand(device, command(fmt.Sprint(i), "x")); err != nil {
					t.Fatal(err)
				}
			}
			wg.Wait()
			if len(got) != n || b.Queued(device) != 0 {
				t.Errorf("%d of %d commands, %d left at the hub", len(got), n, b.Queued(device))
			}
		})
	}
}

// More messages than any buffer of the way holds, with the quirks and limits that others got stuck on.
func TestFieldNothingIsStuckAfterThousands(t *testing.T) {
	for name, quirk := range map[string]func(b *bed){
		"credit 1":         func(b *bed) { b.SetTelemetryCredit(1) },
		"window 1":         func(b *bed) { b.SetSessionWindow(1) },
		"late settlements": func(b *bed) { b.AddAckRule(hubsim.AckRule{Every: 3, Verdict: hubsim.Verdict{Delay: time.Second}}) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, &hubsim.Options{Retention: 20000}, func(t *testing.T, b *bed) {
				quirk(b)
				c := b.dial(b.options())
				const n = 5_500
				pump(t, c, n)
				if b.Accepted() != n {
					t.Errorf("%d of %d accepted", b.Accepted(), n)
				}
			})
		})
	}
}

// A hub that moves is found by its name: each connection asks for it anew, and nothing of an old one is kept.
func TestFieldNameIsAskedAtEachConnect(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		var asked []transport.Endpoint
		o := b.options()
		dial := o.Dial
		o.Dial = func(ctx context.Context, e transport.Endpoint) (net.Conn, error) {
			asked = append(asked, e)
			return dial(ctx, e)
		}
		d := iothub.NewDialer(o)
		for n := range 3 {
			c, err := d.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b.CloseConnections("amqp:connection:forced", "moving")
			_ = ended(t, c, time.Second)
			closeNow(t, c)
			if len(asked) != n+1 || asked[n].Host != "localhost" {
				t.Errorf("asked for %+v", asked)
			}
		}
	})
}

// names takes note of the links that a client attaches.
type names struct {
	net.Conn
	mu   *sync.Mutex
	seen map[string]int
}

func (n *names) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 16 && string(rest[:4]) != "AMQP"; {
		size := int(rest[2])<<8 | int(rest[3])
		if size < 8 || size > len(rest) {
			break
		}
		if f := rest[:size]; size > 12 && f[5] == 0 && f[10] == 0x12 {
			n.mu.Lock()
			n.seen[string(splitList(f[11:])[0])]++
			n.mu.Unlock()
		}
		rest = rest[size:]
	}
	return n.Conn.Write(p)
}

// A hub may still hold the link of a moment ago: no name of a link is used twice.
func TestFieldLinkNamesAreNew(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		var mu sync.Mutex
		seen := map[string]int{}
		o := b.options()
		dial := o.Dial
		o.Dial = func(ctx context.Context, e transport.Endpoint) (net.Conn, error) {
			nc, err := dial(ctx, e)
			return &names{nc, &mu, seen}, err
		}
		for range 3 {
			c := b.dial(o)
			for range 3 {
				b.DetachLinks("", "amqp:link:detach-forced", "Server Busy")
				time.Sleep(3 * time.Second)
			}
			closeNow(t, c)
		}
		mu.Lock()
		defer mu.Unlock()
		for name, n := range seen {
			if n > 1 {
				t.Errorf("the name %q was used %d times", name, n)
			}
		}
		if len(seen) < 3*4 {
			t.Errorf("only %d links were attached", len(seen))
		}
	})
}
