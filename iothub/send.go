package iothub

import (
	"context"
	"errors"
	"time"

	amqp "github.com/Azure/go-amqp"
)

// Send hands one message to the wire and returns at once with the receipt for its outcome; messages go out in the order of the calls, as many as the hub
// gives credit for. It waits for credit, and for a link where that was lost, until ctx ends or the client does; after an error the message was not sent. A message that the hub could never take is not
// sent either: its receipt says Rejected, with ClassMessage. When the connection ends while the message is being written, the receipt says Unknown.
func (c *Client) Send(ctx context.Context, m *Message) (*Receipt, error) {
	if fault := m.check(); fault != nil {
		return settledReceipt(Outcome{State: Rejected, Err: fault}), nil
	}
	return c.transmit(ctx, m.encode())
}

// ErrInterrupted is why Send and SendBatch fail, without having sent anything, after the telemetry link was lost; see Options.Ordered.
var ErrInterrupted = errors.New("telemetry link lost; what was in flight goes first")

// Resume ends the interruption of Options.Ordered. Call it when every receipt of what was in flight has been waited for.
func (c *Client) Resume() { c.gate.resume() }

// transmit is Send for a message in the library's form.
func (c *Client) transmit(ctx context.Context, m *amqp.Message) (*Receipt, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, &Error{Op: "send", Class: ClassNetwork, Err: context.Cause(ctx)}
	case <-c.ctx.Done():
		return nil, c.cause("send")
	}
	defer func() { <-c.turn }()
	r := &Receipt{done: make(chan struct{}), client: c}
	for {
		if err := c.gate.enter(ctx, c.Done(), r); err != nil {
			if c.ctx.Err() != nil {
				return nil, c.cause("send")
			}
			return nil, failure("send", err)
		}
		wrote, err := c.write(m, r)
		switch {
		case err == nil, wrote: // with an error the outcome may have come all the same
			return r, nil
		case c.ctx.Err() != nil:
			return nil, c.cause("send")
		case !linkEnded(err): // too large for the link, or not to be encoded
			return settledReceipt(Outcome{State: Rejected, Err: &Error{Op: "send", Class: ClassMessage, Err: err}}), nil
		}
	}
}

// write hands a message that the gate has let through to the library; wrote says whether any of it went out.
func (c *Client) write(m *amqp.Message, r *Receipt) (wrote bool, err error) {
	now, change := c.present(c.telemetry)
	if now.sender == nil { // lost since the gate opened, or so new that the library has not returned it
		c.gate.leave()
		_ = c.await(c.ctx, change) // the end of the client is seen by the caller
		return false, &amqp.LinkError{}
	}
	r.written = time.Now()
	c.writing.Store(int64(r.written.Sub(c.born)))
	// Not the caller's context: one that ends in mid transfer would leave half a message on the link.
	_, err = now.sender.SendWithReceipt(c.ctx, m, nil)
	c.writing.Store(0)
	wrote = c.gate.leave()
	if err != nil && linkEnded(err) {
		c.linkFailed(now, failure("telemetry link", err))
	}
	return wrote, err
}

func linkEnded(err error) bool {
	_, link := errors.AsType[*amqp.LinkError](err)
	_, session := errors.AsType[*amqp.SessionError](err)
	_, conn := errors.AsType[*amqp.ConnError](err)
	return link || session || conn
}
