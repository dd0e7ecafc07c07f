package iothub_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
)

// pump sends n messages as a caller should: as fast as they are taken, each again until it is accepted. It returns how many sends that took.
func pump(t *testing.T, c *iothub.Client, n int) int {
	t.Helper()
	type sent struct {
		n int
		r *iothub.Receipt
	}
	var queue []sent
	next, accepted, sends := 0, 0, 0
	again := []int{}
	for accepted < n {
		switch {
		case len(again) > 0 || next < n && len(queue) < 3000:
			i := next
			if len(again) > 0 {
				i, again = again[0], again[1:]
			} else {
				next++
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			r, err := c.Send(ctx, message(i))
			cancel()
			if err != nil && len(queue) > 0 && errors.Is(err, context.DeadlineExceeded) {
				again = append([]int{i}, again...)
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			sends++
			queue = append(queue, sent{i, r})
			continue
		}
		s := queue[0]
		queue = queue[1:]
		switch o := s.r.Wait(t.Context()); o.State {
		case iothub.Accepted:
			accepted++
		case iothub.Released, iothub.Modified:
			again = append(again, s.n)
		default:
			t.Fatalf("%d: %+v", s.n, o)
		}
	}
	return sends
}

// More than twice the session's window of 5 000, ten times the credit, and a hub that gives messages back.
func TestPipelining(t *testing.T) {
	for _, omit := range []bool{false, true} { // with and without the next-incoming-id of trap 3
		run(t, &hubsim.Options{OmitNextIncomingID: omit, Retention: 20000}, func(t *testing.T, b *bed) {
			const n = 10500
			c := b.dial(b.options())
			returned := 0
			b.OnTelemetry(func(_ string, nth int) hubsim.Verdict {
				switch {
				case nth%50 == 0:
					returned++
					return hubsim.Verdict{Outcome: hubsim.Release}
				case nth%77 == 0:
					returned++
					return hubsim.Verdict{Outcome: hubsim.Modify}
				}
				return hubsim.Verdict{}
			})
			sends := pump(t, c, n)
			seen := map[string]int{}
			for _, e := range b.Events() {
				seen[e.MessageID]++
			}
			if len(seen) != n || b.Accepted() != n || sends != n+returned {
				t.Errorf("omit %v: %d ids, %d accepted, %d sends, %d given back", omit, len(seen), b.Accepted(), sends, returned)
			}
		})
	}
}

func TestOrderOfTheCalls(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		for n := range 300 {
			if _, err := c.Send(t.Context(), message(n)); err != nil {
				t.Fatal(err)
			}
		}
		events, err := b.WaitEvents(t.Context(), 300)
		if err != nil {
			t.Fatal(err)
		}
		for n, e := range events {
			if e.MessageID != message(n).ID {
				t.Fatalf("place %d has %s", n, e.MessageID)
			}
		}
	})
}

// Without credit Send waits as long as its context, says so, and the message was not sent.
func TestTrap05NoCreditIsTheContextsError(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.SetTelemetryCredit(0)
		c := b.dial(b.options())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := c.Send(ctx, message(1))
		if !errors.Is(err, context.DeadlineExceeded) || c.Err() != nil {
			t.Fatalf("%v, %v", err, c.Err())
		}
		b.SetTelemetryCredit(5)
		if o := send(t, c, 2); o.State != iothub.Accepted || b.Accepted() != 1 {
			t.Errorf("%+v, %d accepted", o, b.Accepted())
		}
	})
}
