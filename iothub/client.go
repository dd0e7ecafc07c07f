package iothub

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/Azure/go-amqp"
)

// Client is one connection of a device to its hub. Its methods may be called from any goroutine. It owns its goroutines until Close returns.
type Client struct {
	o    Options
	at   place
	keys *keyring
	wire *wire
	conn *amqp.Conn
	cbs  *cbs // nil unless AuthSAS

	gate    *gate
	turn    chan struct{} // held while a message is written
	encoded []byte        // of who has the turn

	ctx     context.Context // ends with the client; its cause is why
	cancel  context.CancelCauseFunc
	closing atomic.Bool
	wg      sync.WaitGroup

	wake     chan struct{}     // wakes keep
	renewNow chan chan<- error // who asks for a new token, and hears what became of it

	mu     sync.Mutex
	status Status
	token  *token

	session     *amqp.Session
	sessionGone bool // the hub ended it
	sessionDead bool // it is to be ended
	telemetry   *line
	command     *line  // nil with TelemetryOnly
	cbsLost     *Error // why $cbs has to be opened anew
	cbsDue      bool   // and that this is still to be done
}

// Done is closed when the client is of no more use: dial again, after the wait that Err's class asks for, and Close this one.
func (c *Client) Done() <-chan struct{} { return c.ctx.Done() }

// Err returns nil before Done is closed, and after Close; otherwise an *Error that says why the client ended.
func (c *Client) Err() error {
	if err := context.Cause(c.ctx); err != nil && !errors.Is(err, errClosed) {
		return err
	}
	return nil
}

// String says which device's connection this is, and nothing secret.
func (c *Client) String() string { return c.o.String() }

// GoString hides the secrets from %#v.
func (c *Client) GoString() string { return c.o.String() }

// Status returns what is known of the connection at this moment.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	if h := &s.Parts[Connection]; h.Phase == Proven || h.Phase == Doubtful { // the last frame, not the last look
		h.Proof = time.Now().Add(-c.wire.silence())
		h.Deadline = h.Proof.Add(idleTimeout)
	}
	s.BytesRead, s.BytesWritten = c.wire.read.Load(), c.wire.wrote.Load()
	return s
}

// MaxMessageSize is the size in bytes that the hub announced for a message with all its sections; 0 means that it named none, or that there is no link.
func (c *Client) MaxMessageSize() uint64 {
	if s, _ := c.present(c.telemetry); s.sender != nil {
		return s.sender.MaxMessageSize()
	}
	return 0
}

// Close ends the connection in an orderly way: it takes no more messages, waits until ctx ends for outcomes that are still due, then closes links,
// session and connection. It returns an error only when outcomes were left waiting. It may be called more than once.
func (c *Client) Close(ctx context.Context) error {
	c.gate.close(&Error{Op: "send", Class: ClassNetwork, Err: errClosed})
	var err error
	if c.ctx.Err() == nil {
		if drain := c.gate.drained(ctx, c.Done()); drain != nil && !errors.Is(drain, errClosed) {
			err = &Error{Op: "close", Class: ClassNetwork, Err: drain}
		}
		c.detach(ctx)
	}
	c.closing.Store(true)
	c.cancel(errClosed)
	c.wg.Wait()
	return err
}

// detach closes from the inside out. What fails here goes with the connection.
func (c *Client) detach(ctx context.Context) {
	if !c.closing.CompareAndSwap(false, true) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stop := context.AfterFunc(c.ctx, cancel) //nolint:contextcheck // the client may end first
	defer stop()
	for _, l := range c.lines() {
		if now, _ := c.present(l); now.sender != nil || now.receiver != nil {
			_ = now.close(ctx)
		}
	}
	c.mu.Lock()
	session := c.session
	c.mu.Unlock()
	if session != nil {
		_ = session.Close(ctx)
	}
}

// fail ends the client; the first cause counts. It does not block.
func (c *Client) fail(why *Error) { c.cancel(why) }

// cause returns why the client ended, as an error of op.
func (c *Client) cause(op string) *Error {
	err := context.Cause(c.ctx)
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Op: op, Class: ClassNetwork, Err: err}
}

// supervise closes the connection when the client ends, and ends the client when the connection does.
func (c *Client) supervise() {
	select {
	case <-c.conn.Done():
		if err := c.conn.Err(); err != nil {
			e := failure("connection", err)
			if e.Class == ClassNetwork && !c.wire.failed.Load() { // the network was fine: the library did not like what it read
				e = protocolError(err)
			}
			c.fail(e)
		}
		c.fail(&Error{Op: "connection", Class: ClassNetwork, Err: errors.New("closed by the hub without a word")})
	case <-c.ctx.Done():
	}
	// A dead network would hold the farewell for as long as the write timeout.
	kill := time.AfterFunc(2*time.Second, func() { _ = c.wire.Conn.Close() })
	defer kill.Stop()
	_ = c.conn.Close() // its error is at most a repetition of why the client ended
}

// free lets go of whoever sends on s when the connection has ended (see letGo).
func (c *Client) free(s *amqp.Sender) {
	c.wg.Go(func() {
		<-c.conn.Done()
		_ = s.Close(c.ctx) // of what has ended; it does not wait for the peer
	})
}
