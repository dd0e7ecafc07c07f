package sensors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// reopenAfter is the number of failures in a row after which the owner opens its bus anew.
const reopenAfter = 10

// busOwner carries out the transactions of one bus, one at a time, on a goroutine of its own. A caller that gives up leaves
// the transaction running on memory that belongs to the request, never to the caller.
type busOwner struct {
	number   int
	open     func(n int) (i2c.BusCloser, error)
	limit    time.Duration
	requests chan *busRequest

	stop chan struct{} // closed by Board.Close
	done chan struct{} // closed by serve when the bus is closed
	// closeErr is written by serve and read after done is closed.
	closeErr error
	// now is the request under way, nil between two; written by serve, read by callers whose time is up.
	now atomic.Pointer[busRequest]
}

// busRequest is one transaction. Its buffers are its own.
type busRequest struct {
	addr   uint16
	w, r   []byte
	since  time.Time
	result chan error // holds one, so that serve never waits for a caller who left
}

var _ i2c.Bus = (*busOwner)(nil)

func newBusOwner(n int, open func(n int) (i2c.BusCloser, error), limit time.Duration) *busOwner {
	o := &busOwner{
		number:   n,
		open:     open,
		limit:    limit,
		requests: make(chan *busRequest),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	go o.serve()
	return o
}

// String names the bus: "i2c1".
func (o *busOwner) String() string { return fmt.Sprintf("i2c%d", o.number) }

// SetSpeed is refused: one sensor must not change the bus of another.
func (o *busOwner) SetSpeed(physic.Frequency) error {
	return fmt.Errorf("%s: the speed is set by the kernel (dtparam=i2c_arm_baudrate=)", o)
}

// Tx carries out one transaction, waiting no longer than HardwareOptions.TxTimeout.
func (o *busOwner) Tx(addr uint16, w, r []byte) error {
	expired := make(chan struct{})
	t := time.AfterFunc(o.limit, func() { close(expired) })
	defer t.Stop()
	err := o.do(expired, addr, w, r)
	if errors.Is(err, errGaveUp) {
		return o.late(addr)
	}
	return err
}

// TxContext carries out one transaction, waiting no longer than ctx allows.
func (o *busOwner) TxContext(ctx context.Context, addr uint16, w, r []byte) error {
	err := o.do(ctx.Done(), addr, w, r)
	switch {
	case !errors.Is(err, errGaveUp):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return o.late(addr)
	default:
		return fmt.Errorf("%s: %w", o, context.Cause(ctx))
	}
}

var errGaveUp = errors.New("caller gave up")

// do hands a transaction to the owner and waits for its result until giveUp is closed.
func (o *busOwner) do(giveUp <-chan struct{}, addr uint16, w, r []byte) error {
	req := &busRequest{addr: addr, w: bytes.Clone(w), r: make([]byte, len(r)), result: make(chan error, 1)}
	select {
	case o.requests <- req:
	case <-giveUp:
		return errGaveUp
	case <-o.stop:
		return fmt.Errorf("%s: %w", o, ErrClosed)
	}
	select {
	case err := <-req.result:
		if err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
		copy(r, req.r)
		return nil
	case <-giveUp:
		return errGaveUp
	}
}

// late says why there was no answer in time, naming the transaction that holds the bus.
func (o *busOwner) late(addr uint16) error {
	req := o.now.Load()
	if req == nil {
		return fmt.Errorf("%s: no turn or no answer for 0x%02x: %w", o, addr, ErrTimeout)
	}
	return fmt.Errorf("%s: busy with 0x%02x for %s: %w",
		o, req.addr, time.Since(req.since).Round(time.Millisecond), ErrTimeout)
}

// stuck is late for Close.
func (o *busOwner) stuck() error {
	return fmt.Errorf("close: %w", o.late(0))
}

// serve owns the bus from its first use until stop is closed.
func (o *busOwner) serve() {
	defer close(o.done)
	var port i2c.BusCloser
	failures := 0
	for {
		var req *busRequest
		select {
		case <-o.stop:
			if port != nil {
				o.closeErr = port.Close()
			}
			return
		case req = <-o.requests:
		}
		req.since = time.Now()
		o.now.Store(req)
		var err error
		if port == nil {
			port, err = o.open(o.number)
		}
		if err == nil {
			err = port.Tx(req.addr, req.w, req.r)
		}
		o.now.Store(nil)
		if failures++; err == nil {
			failures = 0
		}
		req.result <- err
		if port != nil && (failures >= reopenAfter || adapterGone(err)) {
			_ = port.Close() // it does not work any more; the next open says why
			port, failures = nil, 0
		}
	}
}

// adapterGone reports whether err means that the open device file will never work again.
func adapterGone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESHUTDOWN) || errors.Is(err, unix.EBADF)
}
