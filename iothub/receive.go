package iothub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	amqp "github.com/Azure/go-amqp"
)

const (
	// rejectedByDevice is the condition of a command that the device refuses; the hub shows the description in the feedback, if anything.
	rejectedByDevice = amqp.ErrCond("amqp:not-allowed")
	// maxReason keeps a description well inside a frame.
	maxReason = 1024
)

// Receive returns the next command, which must be settled. Messages that cannot be commands (larger than 64 KiB, or with a body that is neither bytes nor text)
// are rejected on the spot. It waits until ctx ends or the client does; with TelemetryOnly there is nothing else to wait for.
func (c *Client) Receive(ctx context.Context) (*Delivery, error) {
	if c.o.TelemetryOnly {
		select {
		case <-ctx.Done():
			return nil, c.receiveError(ctx, ctx.Err())
		case <-c.Done():
			return nil, c.cause("receive")
		}
	}
	for {
		now, change := c.present(c.command)
		if now.receiver == nil {
			if err := c.await(ctx, change); err != nil {
				return nil, err
			}
			continue
		}
		m, err := receive(ctx, now.receiver, change)
		if err != nil {
			if ctx.Err() != nil || c.ctx.Err() != nil {
				return nil, c.receiveError(ctx, err)
			}
			c.linkFailed(now, failure("command link", err))
			continue
		}
		d, err := delivery(m)
		if err != nil {
			c.o.Logger.Warn("command rejected", "error", err)
			if err := c.settle(ctx, now, m, Reject, err.Error()); err != nil && c.ctx.Err() != nil {
				return nil, err
			}
			continue
		}
		var settled atomic.Bool
		d.settle = func(ctx context.Context, s Settlement, reason string) error {
			if settled.Swap(true) {
				return nil
			}
			return c.settle(ctx, now, m, s, reason)
		}
		return d, nil
	}
}

// receive is the library's, which goes on waiting on a link that was given up while the peer does not confirm it.
func receive(ctx context.Context, r *amqp.Receiver, lost <-chan struct{}) (*amqp.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	m, err := r.Receive(ctx, nil)
	cancel()
	<-watched
	return m, err
}

func (c *Client) receiveError(ctx context.Context, err error) error {
	if c.ctx.Err() == nil {
		return &Error{Op: "receive", Class: ClassNetwork, Err: cmp.Or(context.Cause(ctx), err)}
	}
	return c.cause("receive")
}

// await waits for a link.
func (c *Client) await(ctx context.Context, change <-chan struct{}) error {
	select {
	case <-change:
		return nil
	case <-ctx.Done():
		return c.receiveError(ctx, ctx.Err())
	case <-c.Done():
		return c.cause("receive")
	}
}

// Settle answers a delivery. The reason goes with Reject. An error means that the hub may not have heard it and may deliver the command again; when the
// hub's lock on the command ran out before, its Class is ClassMessage. Settling a second time does nothing.
func (c *Client) Settle(ctx context.Context, d *Delivery, s Settlement, reason string) error {
	if d.settle == nil {
		return &Error{Op: "settle", Class: ClassProtocol, Err: errors.New("this delivery did not come from Receive")}
	}
	return d.settle(ctx, s, reason)
}

// settle sends one disposition of its own, so that outcomes in a burst cannot be merged. The library takes the context's deadline for
// the socket's, and in receiver-settle-mode second it loses a credit when the context ends first; so it gets one of our own, and when that ends the link does.
func (c *Client) settle(ctx context.Context, on link, m *amqp.Message, s Settlement, reason string) error {
	result := make(chan error, 1)
	go func() { //nolint:contextcheck // see above
		own, cancel := context.WithTimeout(c.ctx, c.o.SettleTimeout)
		defer cancel()
		err := dispose(own, on.receiver, m, s, reason)
		if errors.Is(err, context.DeadlineExceeded) && c.ctx.Err() == nil {
			c.linkFailed(on, &Error{Op: "settle", Class: ClassNetwork, Err: errors.New("the hub did not confirm a settlement in time")})
		}
		result <- err
	}()
	select {
	case err := <-result:
		return c.settleError(err)
	case <-ctx.Done():
		return &Error{Op: "settle", Class: ClassNetwork, Err: context.Cause(ctx)}
	}
}

func dispose(ctx context.Context, r *amqp.Receiver, m *amqp.Message, s Settlement, reason string) error {
	switch s {
	case Accept:
		return r.AcceptMessage(ctx, m)
	case Reject:
		return r.RejectMessage(ctx, m, &amqp.Error{Condition: rejectedByDevice, Description: clip(reason)})
	case Release:
		return r.ReleaseMessage(ctx, m)
	}
	return &Error{Op: "settle", Class: ClassProtocol, Err: fmt.Errorf("settlement %d is unknown", s)}
}

func (c *Client) settleError(err error) error {
	if err == nil {
		return nil
	}
	if c.ctx.Err() != nil {
		return c.cause("settle")
	}
	e := failure("settle", err)
	if e.Condition == string(amqp.ErrCondNotFound) { // of the delivery, not of the device
		e.Class, e.Hint = ClassMessage, "the hub's lock on the command ran out before it was settled; the hub delivers it again"
	}
	return e
}

// clip makes a reason fit and valid.
func clip(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason]
	}
	return strings.ToValidUTF8(s, "")
}
