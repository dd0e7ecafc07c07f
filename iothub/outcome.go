package iothub

import (
	"context"
	"errors"
	"time"
)

// Receipt is the promise of an outcome for one message that was handed to the wire.
type Receipt struct {
	done    chan struct{} // closed when outcome is set
	outcome Outcome

	client  *Client
	written time.Time // handed to the library
}

// settledReceipt is the receipt of a message that never had to be sent.
func settledReceipt(o Outcome) *Receipt {
	r := &Receipt{done: make(chan struct{}), outcome: o}
	close(r.done)
	return r
}

// Wait waits for the hub's word on the message. When the link or the connection is lost first, or no word comes within Options.SettleTimeout (which ends the
// link), the outcome is Unknown and the message has to be sent again. When ctx ends first the outcome is Unknown too, its Err wraps the cause, and Wait may
// be called again. It may be called from several goroutines.
func (r *Receipt) Wait(ctx context.Context) Outcome {
	select {
	case <-r.done:
		return r.outcome
	default:
	}
	var err *Error
	select {
	case <-r.done:
		return r.outcome
	case <-ctx.Done():
		err = &Error{Op: "wait", Class: ClassNetwork, Err: context.Cause(ctx)}
	case <-r.client.Done():
		err = r.client.cause("send")
	}
	select {
	case <-r.done: // what came just before the end counts
		return r.outcome
	default:
		return Outcome{State: Unknown, Err: err}
	}
}

// Done is closed when the outcome is known, from when on Wait does not block. It is not closed when the connection is lost, but when its link is.
func (r *Receipt) Done() <-chan struct{} { return r.done }

// settle makes an outcome known, once.
func (r *Receipt) settle(o Outcome) {
	r.outcome = o
	close(r.done)
}

// lostInFlight is the outcome of what the hub has not settled when its link is lost.
func lostInFlight() Outcome {
	return Outcome{Err: &Error{Op: "send", Class: ClassNetwork, Err: errors.New("link lost before the hub settled the message")}}
}

// outcomeOf decodes a delivery state (AMQP 1.0 part 3 §3.4); final is false for one that is not an outcome.
func outcomeOf(b []byte) (o Outcome, final bool) {
	vague := Outcome{State: Unknown, Err: &Error{Op: "send", Class: ClassProtocol, Err: errors.New("the hub settled a message without an outcome")}}
	if len(b) < 4 || b[0] != 0 || b[1] != 0x53 {
		return vague, false
	}
	switch b[2] {
	case 0x24:
		return Outcome{State: Accepted}, true
	case 0x25:
		fields, _, err := list(b[3:])
		if err != nil {
			return vague, false
		}
		return rejected(field(fields, 0)), true
	case 0x26:
		return Outcome{State: Released, Err: &Error{Op: "send", Class: ClassServer, Err: errors.New("the hub released the message")}}, true
	case 0x27:
		return Outcome{State: Modified, Err: &Error{Op: "send", Class: ClassServer, Err: errors.New("the hub gave the message back (modified)")}}, true
	}
	return vague, false
}

func rejected(encoded []byte) Outcome {
	remote := remoteError(encoded)
	if remote == nil || remote.Condition == "" {
		return Outcome{State: Rejected, Err: &Error{Op: "send", Class: ClassUnknown, Err: errors.New("the hub rejected the message without a reason")}}
	}
	e := refusal("send", string(remote.Condition), remote.Description)
	e.Class = faultOf(e.Condition, e.Description)
	return Outcome{State: Rejected, Err: e}
}
