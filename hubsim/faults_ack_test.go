package hubsim_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"

	"iotagent/hubsim"
)

// outcomes sends n messages at once and returns what the hub made of each, "lost" after a minute.
func (c *client) outcomes(s *amqp.Sender, n int) []string {
	c.t.Helper()
	receipts := make([]amqp.SendReceipt, n)
	for i := range receipts {
		var err error
		if receipts[i], err = s.SendWithReceipt(c.t.Context(), amqp.NewMessage([]byte("x")), nil); err != nil {
			c.t.Fatal(err)
		}
	}
	var all []string
	for _, r := range receipts {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
		state, err := r.Wait(ctx)
		cancel()
		switch state := state.(type) {
		case *amqp.StateAccepted:
			all = append(all, "accepted")
		case *amqp.StateReleased:
			all = append(all, "released")
		case *amqp.StateRejected:
			all = append(all, string(state.Error.Condition))
		default:
			if !errors.Is(err, context.DeadlineExceeded) {
				c.t.Fatalf("%T %v", state, err)
			}
			all = append(all, "lost")
		}
	}
	return all
}

func TestAckRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		s := c.sender(eventsAddress)
		b.SetAckRules(
			hubsim.AckRule{Device: "somebody-else", Verdict: hubsim.Verdict{Outcome: hubsim.Release}},
			hubsim.AckRule{Nth: 2, Verdict: hubsim.Verdict{Outcome: hubsim.Lose}},
			hubsim.AckRule{Device: "pi-17", Every: 3, Verdict: hubsim.Verdict{Outcome: hubsim.Reject, Condition: "amqp:internal-error"}},
		)
		b.AddAckRule(hubsim.AckRule{Nth: 4, Verdict: hubsim.Verdict{Outcome: hubsim.Release}})
		got := fmt.Sprint(c.outcomes(s, 7))
		if want := "[accepted lost amqp:internal-error released accepted amqp:internal-error accepted]"; got != want {
			t.Errorf("outcomes %s, want %s", got, want)
		}
		if n := b.Accepted(); n != 4 { // the lost one too
			t.Errorf("%d stored, want 4", n)
		}
		b.SetAckRules()
		if got := fmt.Sprint(c.outcomes(s, 2)); got != "[accepted accepted]" {
			t.Errorf("without rules: %s", got)
		}
	})
}

func TestThrottleFirstWaitsThenRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		s := c.sender(eventsAddress)
		b.SetThrottle(&hubsim.Throttle{Rate: 2, Patience: 2 * time.Second})
		start := time.Now()
		got := c.outcomes(s, 7)
		const no = "com.microsoft:device-container-throttled"
		want := []string{"accepted", "accepted", "accepted", "accepted", "accepted", no, no} // at 0, 0.5, … 2 s
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v, want 2s: the last accepted one waits for its turn", took)
		}
		<-time.After(10 * time.Second)
		if got := c.outcomes(s, 1); got[0] != "accepted" {
			t.Errorf("after a pause: %v", got)
		}
		b.SetThrottle(nil)
		start = time.Now()
		if got := c.outcomes(s, 20); got[19] != "accepted" || time.Since(start) != 0 {
			t.Errorf("without throttle: %v after %v", got, time.Since(start))
		}
	})
}

func TestLostSettlementBringsTheCommandBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		c := b.connectDevice()
		r := c.receiver(commandsAddress, &amqp.ReceiverOptions{Credit: 5})
		b.LoseSettlements(1)
		if err := b.SendCommand("pi-17", amqp.NewMessage([]byte("open"))); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			m := c.receive(r)
			if err := r.AcceptMessage(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := b.Queued("pi-17"); n != 1-i {
				t.Errorf("after settlement %d: %d in the queue, want %d", i+1, n, 1-i)
			}
			if i == 0 {
				<-time.After(61 * time.Second) // the lock
			}
		}
	})
}
