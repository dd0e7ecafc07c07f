package iothub

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Send hands one message to the wire and returns at once with the receipt for its outcome; messages go out in the order of the calls, as many as the hub
// gives credit for. It waits for credit, and for a link where that was lost, until ctx ends or the client does; after an error the message was not sent. A message that the hub could never take is not
// sent either: its receipt says Rejected, with ClassMessage. When the connection ends while the message is being written, the receipt says Unknown.
func (c *Client) Send(ctx context.Context, m *Message) (*Receipt, error) {
	if fault := m.check(); fault != nil {
		return settledReceipt(Outcome{State: Rejected, Err: fault}), nil //nolint:nilerr // the receipt says it
	}
	return c.transmit(ctx, 0, m.appendTo)
}

// ErrInterrupted is why Send and SendBatch fail, without having sent anything, after the telemetry link was lost; see Options.Ordered.
var ErrInterrupted = errors.New("telemetry link lost; what was in flight goes first")

// Resume ends the interruption of Options.Ordered. Call it when every receipt of what was in flight has been waited for.
func (c *Client) Resume() { c.gate.resume() }

// transmit is Send for a message that encode appends.
func (c *Client) transmit(ctx context.Context, format uint32, encode func([]byte) []byte) (*Receipt, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, &Error{Op: "send", Class: ClassNetwork, Err: context.Cause(ctx)}
	case <-c.ctx.Done():
		return nil, c.cause("send")
	}
	defer func() { <-c.turn }()
	r := &Receipt{done: make(chan struct{}), client: c}
	c.encoded = encode(c.encoded[:0])
	for {
		if err := c.gate.enter(ctx, c.Done(), r); err != nil {
			if c.ctx.Err() != nil {
				return nil, c.cause("send")
			}
			return nil, failure("send", err)
		}
		wrote, fault := c.write(format, c.encoded, r)
		switch {
		case fault != nil:
			return settledReceipt(Outcome{State: Rejected, Err: fault}), nil
		case wrote:
			return r, nil
		case c.ctx.Err() != nil:
			return nil, c.cause("send")
		}
	}
}

// write writes a message that the gate has let through; wrote says whether any of it went out, which makes its outcome the receipt's matter.
func (c *Client) write(format uint32, m []byte, r *Receipt) (wrote bool, fault *Error) {
	now, change := c.present(c.telemetry)
	if now.sender == nil { // lost since the gate opened, or so new that the library has not returned it
		c.gate.leave()
		_ = c.await(c.ctx, change) // the end of the client is seen by the caller
		return false, nil
	}
	if most := now.sender.MaxMessageSize(); most > 0 && uint64(len(m)) > most {
		c.gate.leave()
		return false, &Error{Op: "send", Class: ClassMessage, Err: fmt.Errorf("message of %d bytes, encoded, is larger than the link's limit of %d", len(m), most)}
	}
	r.written = time.Now()
	rest, err := c.wire.send(now.name, format, m, true)
	for err == nil && len(rest) > 0 {
		// Not the caller's context: one that ends in mid transfer would leave half a message on the link.
		if err = c.gate.more(c.ctx, c.Done()); err == nil {
			rest, err = c.wire.send(now.name, format, rest, false)
		}
	}
	wrote = c.gate.leave()
	if err != nil {
		c.linkFailed(now, failure("telemetry link", err))
	}
	return wrote, nil
}
