package sensors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// reopenAfter is the number of failures in a row after which the owner opens its bus anew.
const reopenAfter = 10

// owner carries out the transactions of one bus, one at a time and in the order in which they were asked for, on a goroutine of its own.
// A caller that gives up leaves the transaction running on memory that belongs to the request, never to the caller.
type owner[P io.Closer] struct {
	name     string
	open     func() (P, error)
	limit    time.Duration
	requests chan *request[P]

	stop chan struct{} // closed by Board.Close
	done chan struct{} // closed by serve when the bus is closed
	// closeErr is written by serve and read after done is closed.
	closeErr error
	// now is the request under way, nil between two; written by serve, read by callers whose time is up.
	now atomic.Pointer[request[P]]
}

// request is one transaction.
type request[P any] struct {
	with   string // the chip, for those who wait
	run    func(port P) error
	since  time.Time
	result chan error // holds one, so that serve never waits for a caller who left
}

// newOwner returns the owner of the bus of that name, which open opens at the first transaction and after failures.
func newOwner[P io.Closer](name string, open func() (P, error), limit time.Duration) *owner[P] {
	o := &owner[P]{
		name:     name,
		open:     open,
		limit:    limit,
		requests: make(chan *request[P]),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	go o.serve()
	return o
}

// limited carries out a transaction with that chip, waiting no longer than HardwareOptions.TxTimeout. When its error is not nil, run may still
// be under way, or never be called.
func (o *owner[P]) limited(with string, run func(port P) error) error {
	expired := make(chan struct{})
	t := time.AfterFunc(o.limit, func() { close(expired) })
	defer t.Stop()
	err := o.do(expired, with, run)
	if errors.Is(err, errGaveUp) {
		return o.late(with)
	}
	return err
}

// within is limited with a ctx for the limit.
func (o *owner[P]) within(ctx context.Context, with string, run func(port P) error) error {
	err := o.do(ctx.Done(), with, run)
	switch {
	case !errors.Is(err, errGaveUp):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return o.late(with)
	default:
		return fmt.Errorf("%s: %w", o.name, context.Cause(ctx))
	}
}

var errGaveUp = errors.New("caller gave up")

// do hands a transaction to the owner and waits for its result until giveUp is closed.
func (o *owner[P]) do(giveUp <-chan struct{}, with string, run func(port P) error) error {
	req := &request[P]{with: with, run: run, result: make(chan error, 1)}
	select {
	case o.requests <- req:
	case <-giveUp:
		return errGaveUp
	case <-o.stop:
		return fmt.Errorf("%s: %w", o.name, ErrClosed)
	}
	select {
	case err := <-req.result:
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		return nil
	case <-giveUp:
		return errGaveUp
	}
}

// late says why there was no answer in time, naming the transaction that holds the bus.
func (o *owner[P]) late(with string) error {
	req := o.now.Load()
	if req == nil {
		return fmt.Errorf("%s: no turn or no answer for %s: %w", o.name, with, ErrTimeout)
	}
	return fmt.Errorf("%s: busy with %s for %s: %w",
		o.name, req.with, time.Since(req.since).Round(time.Millisecond), ErrTimeout)
}

// close makes serve end after the transaction under way, and refuses those that wait.
func (o *owner[P]) close() { close(o.stop) }

// closed is closed when serve has ended.
func (o *owner[P]) closed() <-chan struct{} { return o.done }

// closing is what closing came to, whether it is over or not.
func (o *owner[P]) closing() error {
	select {
	case <-o.done:
		return o.closeErr
	default:
		return fmt.Errorf("close: %w", o.late("closing"))
	}
}

// serve owns the bus from its first use until stop is closed.
func (o *owner[P]) serve() {
	defer close(o.done)
	var port P
	open, failures := false, 0
	for {
		var req *request[P]
		select {
		case <-o.stop:
			if open {
				o.closeErr = port.Close()
			}
			return
		case req = <-o.requests:
		}
		req.since = time.Now()
		o.now.Store(req)
		var err error
		if !open {
			port, err = o.open()
			open = err == nil
		}
		if open {
			err = req.run(port)
		}
		if failures++; err == nil {
			failures = 0
		}
		if open && (failures >= reopenAfter || adapterGone(err)) {
			_ = port.Close() // it does not work any more; the next open says why
			open, failures = false, 0
		}
		o.now.Store(nil)
		req.result <- err // at last: who has the answer finds the adapter let go
	}
}

// adapterGone reports whether err means that the open device file will never work again.
func adapterGone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESHUTDOWN) || errors.Is(err, unix.EBADF)
}
