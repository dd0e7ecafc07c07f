package modbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"iotagent/internal/backoff"
	"iotagent/sensors"
)

// link is an open connection: it carries one request at a time.
type link interface {
	// exchange sends a query and returns the data of the answer, which the unit begins within that time. Its error wraps errLost when the link is of no use any more.
	exchange(unit byte, q query, within time.Duration) ([]byte, error)
	// quiet is the least time between two requests.
	quiet() time.Duration
	io.Closer
}

// errLost: the connection is broken or out of step; only a new one helps.
var errLost = errors.New("connection lost")

// request is a query of one unit.
type request struct {
	query

	unit        byte
	within, gap time.Duration

	since  time.Time
	left   <-chan struct{} // closed when the caller does not wait any more
	answer chan answer     // holds one, so that serve never waits for a caller who left
}

type answer struct {
	data []byte
	err  error
}

// line is a serial line or a TCP connection with every unit on it. One goroutine, serve, owns the link and carries out the requests
// of all sensors in their order. It is opened at the first request, and anew after it broke.
type line struct {
	addr     address
	open     func(ctx context.Context, a address) (link, error)
	requests chan *request
	stop     context.CancelFunc
	done     chan struct{}           // closed when serve has ended
	now      atomic.Pointer[request] // under way; nil between two

	// What follows belongs to serve.
	link  link
	last  time.Time // when the link was last in use
	down  health    // of the link
	units map[byte]*health
}

// newLine returns a line that lives until its Close, whatever becomes of ctx. It opens nothing yet.
func newLine(ctx context.Context, a address, p ports) *line {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &line{
		addr: a, open: p.open, requests: make(chan *request), stop: stop, done: make(chan struct{}), units: map[byte]*health{},
	}
	go l.serve(ctx)
	return l
}

// Close breaks off what is under way and closes the link.
func (l *line) Close() error {
	const limit = time.Second
	l.stop()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-l.done:
		return nil
	case <-t.C:
		return fmt.Errorf("modbus %s: has not closed after %s: %w", l.addr, limit, sensors.ErrTimeout)
	}
}

// ask carries out a request, waiting no longer than ctx allows.
func (l *line) ask(ctx context.Context, r request) ([]byte, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, err
	}
	r.left, r.answer = ctx.Done(), make(chan answer, 1)
	select {
	case l.requests <- &r:
	case <-ctx.Done():
		return nil, l.late(ctx, &r)
	case <-l.done:
		return nil, sensors.ErrClosed
	}
	select {
	case a := <-r.answer:
		return a.data, a.err
	case <-ctx.Done():
		return nil, l.late(ctx, &r)
	case <-l.done:
		return nil, sensors.ErrClosed
	}
}

// late says why there was no answer while ctx lived, naming the request that holds the line.
func (l *line) late(ctx context.Context, own *request) error {
	switch r := l.now.Load(); {
	case r == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded):
	case r == own:
		return fmt.Errorf("no answer within %s: %w", time.Since(r.since).Round(time.Millisecond), sensors.ErrTimeout)
	default:
		return fmt.Errorf("the line has been busy with unit %d for %s: %w", r.unit, time.Since(r.since).Round(time.Millisecond), sensors.ErrTimeout)
	}
	return sensors.Expired(ctx)
}

// serve owns the link.
func (l *line) serve(ctx context.Context) {
	defer close(l.done)
	defer l.drop()
	for {
		var r *request
		select {
		case <-ctx.Done():
			return
		case r = <-l.requests:
		}
		r.since = time.Now()
		l.now.Store(r)
		data, err := l.attend(ctx, r)
		l.now.Store(nil)
		r.answer <- answer{data, err}
	}
}

// gone reports whether the caller has left.
func (r *request) gone() bool {
	select {
	case <-r.left:
		return true
	default:
		return false
	}
}

// attend asks a unit unless it is to be left alone, and keeps account of its failures. A unit that answered the last time is asked twice:
// a request or an answer may have been lost on the way.
func (l *line) attend(ctx context.Context, r *request) ([]byte, error) {
	h := l.units[r.unit]
	if h == nil {
		h = &health{}
		l.units[r.unit] = h
	}
	if err := h.resting(); err != nil {
		return nil, err
	}
	data, err := l.try(ctx, r)
	if silent(err) && h.alive && !r.gone() {
		data, err = l.try(ctx, r)
	}
	switch {
	case silent(err):
		h.fail(err, r.within)
	case !errors.Is(err, errLost) && !errors.Is(err, errNotOpen):
		h.answered()
	}
	return data, err
}

// silent reports whether a unit gave no answer, or none that could be read.
func silent(err error) bool {
	return errors.Is(err, sensors.ErrTimeout) && !errors.Is(err, errNotOpen) || errors.Is(err, sensors.ErrChecksum)
}

// try asks once. When a link that was used before turns out to be broken, as those of units that hang up after each answer, it asks
// again on a new one.
func (l *line) try(ctx context.Context, r *request) ([]byte, error) {
	used := l.link != nil
	data, err := l.exchange(ctx, r)
	if used && errors.Is(err, errLost) && !errors.Is(err, sensors.ErrTimeout) && ctx.Err() == nil {
		data, err = l.exchange(ctx, r)
	}
	return data, err
}

func (l *line) exchange(ctx context.Context, r *request) ([]byte, error) {
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	k := l.link
	if err := backoff.Sleep(ctx, time.Until(l.last.Add(max(k.quiet(), r.gap)))); err != nil {
		return nil, sensors.ErrClosed
	}
	unwatch := context.AfterFunc(ctx, func() { _ = k.Close() }) // nobody waits for the answer
	data, err := k.exchange(r.unit, r.query, r.within)
	unwatch()
	l.last = time.Now()
	if errors.Is(err, errLost) {
		l.drop()
	}
	return data, err
}

// errNotOpen: the line could not be opened.
var errNotOpen = errors.New("not connected")

// connect opens the link unless it is open, or was tried a short while ago.
func (l *line) connect(ctx context.Context) error {
	const base = time.Second
	if l.link != nil {
		return nil
	}
	if err := l.down.resting(); err != nil {
		return err
	}
	k, err := l.open(ctx, l.addr)
	if err != nil {
		err = fmt.Errorf("%w: %w", errNotOpen, err)
		l.down.fail(err, base)
		return err
	}
	l.down.answered()
	l.link, l.last = k, time.Now()
	return nil
}

// drop closes the link.
func (l *line) drop() {
	if l.link != nil {
		_ = l.link.Close() // it is of no use any more
		l.link = nil
	}
}
