package amqpd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"time"
)

// errDone ends the reading of a connection that is over.
var errDone = errors.New("connection is closed")

// Serve runs one connection until it ends and closes conn. When ctx ends the
// peer is told with amqp:connection:forced. It returns nil after an orderly
// close by either side, the *Error with which either side closed, or what broke
// the connection.
func Serve(ctx context.Context, conn net.Conn, cfg *Config) error {
	c := newConn(conn, cfg)
	stop := context.AfterFunc(ctx, func() { c.forced(ctx) })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(c.w.run)
	wg.Go(c.notify)

	err := c.handshake(ctx)
	if err == nil {
		err = c.readFrames()
	}
	err = c.wind(err)
	close(c.quit)
	wg.Wait()
	c.farewell(err)
	close(c.done)
	c.cfg.Logger.Debug("amqp connection ended", "remote", addr(conn), "error", err)
	return err
}

func addr(conn net.Conn) string {
	if a := conn.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// handshake negotiates the protocol and opens the connection.
func (c *Conn) handshake(ctx context.Context) error {
	if err := c.nc.SetReadDeadline(time.Now().Add(c.cfg.HandshakeTimeout)); err != nil {
		return err
	}
	if err := c.header(ctx); err != nil {
		return err
	}
	c.fr.limit = c.cfg.MaxFrameSize
	for {
		f, err := c.fr.read()
		switch {
		case err != nil:
			if _, ok := errors.AsType[*Error](err); ok {
				c.refuseOpen()
			}
			return err
		case f.typ != frameTypeAMQP:
			c.refuseOpen()
			return errf(CondFramingError, "frame of type %d before open", f.typ)
		case f.code == 0:
			continue
		case f.code != codeOpen:
			c.refuseOpen()
			return errf(CondIllegalState, "performative 0x%x before open", f.code)
		}
		open := readOpen(f.perf)
		if f.perf.err != nil {
			c.refuseOpen()
			return &Error{Condition: CondDecodeError, Description: "open: " + f.perf.err.Error()}
		}
		return c.open(open)
	}
}

// refuseOpen sends the OPEN that must stand before a CLOSE.
func (c *Conn) refuseOpen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendOpen()
}

// sendOpen sends our OPEN. mu is held.
func (c *Conn) sendOpen() {
	if c.openSent {
		return
	}
	c.openSent = true
	c.send(0, &openFrame{
		containerID: c.cfg.ContainerID, hostname: c.cfg.Hostname,
		maxFrameSize: c.cfg.MaxFrameSize, channelMax: c.cfg.ChannelMax,
		idleTimeout: uint32(min(max(c.cfg.IdleTimeout.Milliseconds(), 0), math.MaxUint32)),
		properties:  c.cfg.Properties,
	})
}

// open answers the peer's OPEN.
func (c *Conn) open(o *openFrame) error {
	idle := time.Duration(o.idleTimeout) * time.Millisecond
	c.mu.Lock()
	c.remote = RemoteOpen{
		ContainerID: o.containerID, Hostname: o.hostname, MaxFrameSize: o.maxFrameSize,
		ChannelMax: o.channelMax, IdleTimeout: idle, Properties: o.properties,
	}
	c.mu.Unlock()

	err := c.judgeOpen(o, idle)
	if err == nil {
		c.cb.Lock()
		err = AsError(c.cfg.Handler.Opened(c))
		c.cb.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = err == nil
	c.sendOpen()
	if err != nil {
		return err
	}
	if idle == 0 {
		idle = max(c.cfg.DefaultPeerIdleTimeout, 0)
	}
	c.w.setHeartbeat(idle / 2)
	c.idle = max(c.cfg.IdleTimeout, 0)
	if c.idle == 0 {
		return c.nc.SetReadDeadline(time.Time{})
	}
	return nil
}

func (c *Conn) judgeOpen(o *openFrame, idle time.Duration) *Error {
	if least := c.cfg.MinPeerIdleTimeout; idle > 0 && idle < least {
		return errf(CondNotAllowed, "idle-time-out of %d ms is below the allowed minimum of %d ms", idle.Milliseconds(), least.Milliseconds())
	}
	if o.maxFrameSize < minFrameSize {
		return errf(CondInvalidField, "max-frame-size of %d is below %d", o.maxFrameSize, minFrameSize)
	}
	return nil
}

// readFrames reads and dispatches until the connection is over.
func (c *Conn) readFrames() error {
	for {
		c.w.waitRoom()
		f, err := c.fr.read()
		if err != nil {
			return err
		}
		if err := c.dispatch(f); err != nil {
			return err
		}
	}
}

// dispatch handles one frame and runs the callbacks that it causes.
func (c *Conn) dispatch(f *frame) error {
	c.cb.Lock()
	defer c.cb.Unlock()
	c.mu.Lock()
	c.dispatching = true
	err := c.handle(f)
	c.mu.Unlock()
	c.runEvents()
	return err
}

// wind ends a connection of which nothing more will be read: it tells the peer
// if it must, waits for what is queued to be written, and returns the cause.
func (c *Conn) wind(err error) error {
	c.mu.Lock()
	blame, ok := errors.AsType[*Error](err)
	switch {
	case errors.Is(err, errDone):
	case c.caused: // CLOSE was sent, and the rest does not matter
	case ok:
		c.closeWith(blame, nil)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.openSent:
		c.closeWith(errf(CondResourceLimitExceeded, "local-idle-timeout expired"), nil)
	}
	c.ended = true
	c.cutAfter(c.cfg.CloseTimeout)
	c.mu.Unlock()

	c.w.finish()
	if !errors.Is(err, errDone) { // input left unread could destroy what we wrote
		_ = c.nc.SetReadDeadline(time.Time{}) // the timer is the limit
		_, _ = io.Copy(io.Discard, c.br)
	}
	<-c.w.done
	_ = c.nc.Close() // the end in any case

	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeTimer.Stop()
	if failure := c.w.failure(); failure != nil && !c.caused {
		err = failure
	}
	c.because(err)
	return c.cause
}

// farewell runs the last callbacks, when no other goroutine is left.
func (c *Conn) farewell(err error) {
	c.cb.Lock()
	defer c.cb.Unlock()
	c.mu.Lock()
	for _, s := range sortedByKey(c.sessions) {
		s.drop(err)
	}
	c.mu.Unlock()
	c.runEvents()
	if c.opened {
		c.cfg.Handler.Closed(c, err)
	}
}

// header reads protocol headers up to the one of AMQP itself, with SASL before it.
func (c *Conn) header(ctx context.Context) error {
	var h [8]byte
	if _, err := io.ReadFull(c.br, h[:]); err != nil {
		return fmt.Errorf("protocol header: %w", noEOF(err))
	}
	if bytes.Equal(h[:], headerSASL()) {
		c.w.raw(headerSASL())
		if err := c.sasl(ctx); err != nil {
			return err
		}
		if _, err := io.ReadFull(c.br, h[:]); err != nil {
			return fmt.Errorf("protocol header: %w", noEOF(err))
		}
	} else if c.cfg.RequireSASL {
		c.w.raw(headerSASL())
		return errHeader
	}
	c.w.raw(headerAMQP())
	if !bytes.Equal(h[:], headerAMQP()) {
		return errHeader
	}
	return nil
}

// errHeader says that the peer speaks something else; it got our header.
var errHeader = errors.New("protocol header is not the expected one")

func headerAMQP() []byte { return []byte("AMQP\x00\x01\x00\x00") }
func headerSASL() []byte { return []byte("AMQP\x03\x01\x00\x00") }
