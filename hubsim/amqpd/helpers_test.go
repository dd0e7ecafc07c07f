package amqpd

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

// node is a Handler whose callbacks a test may replace one by one.
type node struct {
	opened      func(*Conn) error
	attach      func(*Link) error
	message     func(*Link, *Incoming)
	credit      func(*Link)
	disposition func(*Link, *Outgoing, State, bool)
	detached    func(*Link, error)
	closed      func(*Conn, error)
}

var _ Handler = (*node)(nil)

func (n *node) Opened(c *Conn) error {
	if n.opened == nil {
		return nil
	}
	return n.opened(c)
}

func (n *node) Attach(l *Link) error {
	if n.attach == nil {
		l.GrantCredit(100)
		return nil
	}
	return n.attach(l)
}

func (n *node) Message(l *Link, d *Incoming) {
	if n.message == nil {
		d.Settle(State{Kind: Accepted})
		return
	}
	n.message(l, d)
}

func (n *node) Credit(l *Link) {
	if n.credit != nil {
		n.credit(l)
	}
}

func (n *node) Disposition(l *Link, o *Outgoing, s State, settled bool) {
	if n.disposition != nil {
		n.disposition(l, o, s, settled)
	}
}

func (n *node) Detached(l *Link, err error) {
	if n.detached != nil {
		n.detached(l, err)
	}
}

func (n *node) Closed(c *Conn, err error) {
	if n.closed != nil {
		n.closed(c, err)
	}
}

// start serves one end of a pipe and returns the other. wait returns what
// Serve returned; it is called at the end of the test in any case.
func start(t *testing.T, cfg Config, h Handler) (peer net.Conn, wait func() error) {
	t.Helper()
	peer, server := net.Pipe()
	cfg.Handler = h
	var err error
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() { err = Serve(ctx, server, &cfg) })
	t.Cleanup(func() {
		_ = peer.Close()
		cancel()
		wg.Wait()
	})
	return peer, func() error { wg.Wait(); return err }
}

// dial opens a go-amqp connection and a session over a served pipe.
func dial(t *testing.T, cfg Config, h Handler, opts *amqp.ConnOptions) (*amqp.Conn, *amqp.Session, func() error) {
	t.Helper()
	peer, wait := start(t, cfg, h)
	c, err := amqp.NewConn(within(t), peer, opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := c.NewSession(within(t), nil)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	return c, s, wait
}

// within bounds one step of a test, so that a lost frame fails it at once.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// encoded returns the bytes of a message with one data section.
func encoded(t *testing.T, body string) []byte {
	t.Helper()
	b, err := amqp.NewMessage([]byte(body)).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// body returns the data section of an encoded message.
func body(t *testing.T, payload []byte) string {
	t.Helper()
	var m amqp.Message
	if err := m.UnmarshalBinary(payload); err != nil {
		t.Errorf("payload: %v", err)
	}
	return string(m.GetData())
}
