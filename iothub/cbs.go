package iothub

import (
	"context"
	"errors"
	"strconv"
	"sync"

	amqp "github.com/Azure/go-amqp"
)

var errNoAnswer = errors.New("the hub did not answer a token request in time")

// cbs is the connection's one pair of links to the node $cbs (claims-based security), which tokens are put to. A hub allows one pair a connection.
type cbs struct {
	session  *amqp.Session
	sender   *amqp.Sender
	receiver *amqp.Receiver
	rejected chan *amqp.StateRejected // a request that was refused as a message has no reply

	mu sync.Mutex // one request at a time
	n  uint64
}

// openCBS opens $cbs, on a session of its own so that trouble with the device's links does not end the renewal.
func (c *Client) openCBS(ctx context.Context) error {
	session, err := c.conn.NewSession(ctx, nil)
	if err != nil {
		return failure("begin", err)
	}
	links := &cbs{session: session, rejected: make(chan *amqp.StateRejected, 1)}
	links.sender, err = session.NewSender(ctx, "$cbs", &amqp.SenderOptions{Name: linkName("cbs-sender"), OnDeliveryStateChanged: links.state})
	if err != nil {
		return failure("attach $cbs", err)
	}
	c.free(links.sender)
	links.receiver, err = session.NewReceiver(ctx, "$cbs", &amqp.ReceiverOptions{Name: linkName("cbs-receiver"), Credit: 4, TargetAddress: "cbs"})
	if err != nil {
		return failure("attach $cbs", err)
	}
	c.cbs = links
	return nil
}

// mendCBS opens $cbs anew where its links were lost. The old session goes first: a hub allows one pair.
func (c *Client) mendCBS(ctx context.Context) error {
	c.mu.Lock()
	lost := c.cbsLost
	c.mu.Unlock()
	if lost == nil && c.cbs != nil {
		return nil
	}
	if c.cbs != nil {
		ctx, cancel := context.WithTimeout(ctx, detachTimeout)
		_ = c.cbs.session.Close(ctx) // what the peer does not confirm has a new one beside it
		cancel()
	}
	c.mu.Lock()
	c.cbsLost = nil
	c.mu.Unlock()
	if err := c.openCBS(ctx); err != nil {
		c.mu.Lock()
		c.cbsLost = failure("attach $cbs", err)
		c.mu.Unlock()
		return err
	}
	return nil
}

// putToken sends a token and waits for the hub's verdict, each at most CBSTimeout.
func (c *Client) putToken(ctx context.Context, t *token) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.CBSTimeout, errNoAnswer)
	defer cancel()
	if err := c.mendCBS(ctx); err != nil {
		return failure("attach $cbs", err)
	}
	status, description, err := c.cbs.request(ctx, c.resource(), t.text)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return failure("put-token", err)
	}
	if status != 200 && status != 202 {
		return refusedToken(status, description)
	}
	c.accepted(t)
	return nil
}

func (b *cbs) request(ctx context.Context, audience, signature string) (status int, description string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	id := strconv.FormatUint(b.n, 10)
	to, replyTo := "$cbs", "cbs"
	select {
	case <-b.rejected: // of an earlier request
	default:
	}
	_, err = b.sender.SendWithReceipt(ctx, &amqp.Message{
		Properties: &amqp.MessageProperties{MessageID: id, To: &to, ReplyTo: &replyTo},
		ApplicationProperties: map[string]any{
			"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": audience,
		},
		Value: signature,
	}, nil)
	if err != nil {
		return 0, "", err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	refusal := make(chan struct{})
	go func() {
		defer close(refusal)
		select {
		case state := <-b.rejected:
			e := state.Error
			if e == nil {
				e = &amqp.Error{Description: "the hub rejected the token request"}
			}
			cancel(e)
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(nil); <-refusal }()
	for {
		reply, err := b.receiver.Receive(ctx, nil)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return 0, "", err
		}
		if err := b.receiver.AcceptMessage(ctx, reply); err != nil {
			return 0, "", err
		}
		if reply.Properties == nil || reply.Properties.CorrelationID != any(id) {
			continue // the late answer to a request that was given up
		}
		code, ok := integer(reply.ApplicationProperties["status-code"])
		if !ok || code > 999 {
			return 0, "", &Error{Op: "put-token", Class: ClassProtocol, Err: errors.New("the answer has no status code")}
		}
		return int(code), text(reply.ApplicationProperties["status-description"]), nil
	}
}

// state hears of the requests' settlements; it runs in the library's goroutine.
func (b *cbs) state(s amqp.DeliveryState) {
	rejected, ok := s.(*amqp.StateRejected)
	if !ok {
		return
	}
	select {
	case b.rejected <- rejected:
	default:
	}
}
