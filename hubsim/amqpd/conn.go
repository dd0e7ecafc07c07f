package amqpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// Conn is one connection.
type Conn struct {
	nc  net.Conn
	cfg *Config
	w   *writer
	br  *bufio.Reader
	fr  *frameReader

	done chan struct{} // all is over
	wake chan struct{} // events wait for the notifier
	quit chan struct{} // ends the notifier

	// cb is held while callbacks run. It is taken before mu, never with it.
	cb sync.Mutex

	// mu guards what follows and the state of all sessions, links and deliveries.
	mu           sync.Mutex
	identity     any
	mechanism    string
	remote       RemoteOpen
	value        any
	events       []func() // callbacks to come, run with cb held and without mu
	dispatching  bool     // the reader will run the events itself
	opened       bool     // Handler.Opened returned nil: Closed is owed
	openSent     bool
	closeSent    bool
	ended        bool // nothing more is written or begun
	cause        error
	caused       bool
	closeTimer   *time.Timer
	idle         time.Duration // read deadline for each read; zero: none
	sessions     map[uint16]*Session
	links        int  // attached or half so, in all sessions
	partialBytes int  // payload of deliveries that are not complete
	pendingBytes int  // payload that waits for a session window
	starved      bool // a link was denied credit because the buffer is full
	muteEcho     bool // see MuteEcho
}

func newConn(nc net.Conn, cfg *Config) *Conn {
	c := &Conn{
		nc: nc, cfg: cfg.withDefaults(),
		done: make(chan struct{}), wake: make(chan struct{}, 1), quit: make(chan struct{}),
		sessions: make(map[uint16]*Session),
	}
	c.w = newWriter(nc, c.cfg.WriteTimeout, c.hasRoom)
	c.br = bufio.NewReaderSize(&deadlineReader{c}, 4<<10)
	c.fr = &frameReader{r: c.br, limit: maxSASLFrame}
	return c
}

// deadlineReader renews the read deadline before each read.
type deadlineReader struct{ c *Conn }

func (r *deadlineReader) Read(p []byte) (int, error) {
	r.c.mu.Lock()
	idle := r.c.idle
	r.c.mu.Unlock()
	if idle > 0 {
		if err := r.c.nc.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return 0, err
		}
	}
	return r.c.nc.Read(p)
}

// Identity returns what Config.Authenticate returned; nil without SASL.
func (c *Conn) Identity() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.identity
}

// Mechanism returns the SASL mechanism; empty without SASL.
func (c *Conn) Mechanism() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mechanism
}

// Remote returns what the peer's OPEN said. It is empty before Handler.Opened.
func (c *Conn) Remote() RemoteOpen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote
}

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// NetConn returns the connection given to Serve, to be looked at only.
func (c *Conn) NetConn() net.Conn { return c.nc }

// TLS returns the TLS state if the connection given to Serve has one, otherwise nil.
func (c *Conn) TLS() *tls.ConnectionState {
	t, ok := c.nc.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	s := t.ConnectionState()
	return &s
}

// Close starts an orderly close with err, which may be nil, after all that was
// written so far. Later calls do nothing. Before the connection is open, which
// includes Config.Authenticate and Handler.Opened, it is Drop.
func (c *Conn) Close(err *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeWith(err, nil)
}

// Drop cuts the connection without a word.
func (c *Conn) Drop() { _ = c.nc.Close() } // the reader notices

// Done is closed when the connection has ended and Handler.Closed returned.
func (c *Conn) Done() <-chan struct{} { return c.done }

// SetValue keeps a value of the handler's with the connection.
func (c *Conn) SetValue(v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = v
}

// Value returns what SetValue was given last.
func (c *Conn) Value() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value
}

// because notes what ended the connection; the first cause stays. mu is held.
func (c *Conn) because(err error) {
	if !c.caused {
		c.caused, c.cause = true, err
	}
}

// closeWith sends CLOSE with err and gives the peer CloseTimeout to answer.
// The cause is err, or other if that is not nil. mu is held.
func (c *Conn) closeWith(err *Error, other error) {
	if c.closeSent || c.ended {
		return
	}
	switch {
	case other != nil:
		c.because(other)
	case err != nil:
		c.because(err)
	default:
		c.because(nil)
	}
	if !c.openSent {
		_ = c.nc.Close() // AMQP knows no other word before OPEN
		return
	}
	c.closeSent = true
	c.send(0, &closeFrame{err})
	c.cutAfter(c.cfg.CloseTimeout)
}

// cutAfter closes the network connection in a while. mu is held.
func (c *Conn) cutAfter(d time.Duration) {
	if c.closeTimer == nil {
		c.closeTimer = time.AfterFunc(d, c.Drop)
	}
}

// send queues a frame. mu is held, so that frames go out in the order of what they tell.
func (c *Conn) send(channel uint16, p performative) {
	c.w.frame(frameTypeAMQP, channel, p, nil)
}

// forced closes the connection because the server ends.
func (c *Conn) forced(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeWith(errf(CondConnectionForced, "the server is shutting down"), context.Cause(ctx))
}
