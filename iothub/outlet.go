package iothub

import (
	"net"
	"sync"
	"time"
)

// outlet writes to a transport from one goroutine. What is put while a write is under way goes out together in the next one: where the library writes each
// frame by itself, a window full of messages takes a few TLS records.
type outlet struct {
	conn net.Conn
	// done is told of each write, and of the error that ends the outlet.
	done func(n int, err error)

	mu      sync.Mutex
	change  sync.Cond // there is something to write, there is room again, or the end
	next    []byte    // to be written
	err     error     // why nothing is written any more
	closing bool
	last    time.Time // of the last put

	gone chan struct{} // closed when the goroutine has ended
}

// outletRoom is how many bytes may wait behind a write.
const outletRoom = 64 << 10

func newOutlet(conn net.Conn, done func(int, error)) *outlet {
	o := &outlet{conn: conn, done: done, last: time.Now(), gone: make(chan struct{})}
	o.change.L = &o.mu
	return o
}

// put has add append frames to what is to be written, before anybody else can. It waits for room first. An error is that of an earlier write, or add's own.
func (o *outlet) put(add func(to []byte) ([]byte, error)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && !o.closing && len(o.next) >= outletRoom {
		o.change.Wait()
	}
	switch {
	case o.err != nil:
		return o.err
	case o.closing:
		return net.ErrClosed
	}
	b, err := add(o.next)
	if err != nil {
		return err
	}
	o.next = b
	o.added()
	return nil
}

// inject queues a frame made on the spot, without waiting for room; nil is none.
func (o *outlet) inject(frame func() []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && !o.closing {
		if f := frame(); len(f) > 0 {
			o.next = append(o.next, f...)
			o.added()
		}
	}
}

func (o *outlet) added() {
	o.last = time.Now()
	o.change.Broadcast()
}

// idle returns for how long nothing was put.
func (o *outlet) idle() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Since(o.last)
}

// run writes until close or an error, after which the transport is closed, so that its reader learns of it.
func (o *outlet) run() {
	defer close(o.gone)
	var now []byte
	for {
		o.mu.Lock()
		for len(o.next) == 0 && !o.closing {
			o.change.Wait()
		}
		if len(o.next) == 0 {
			o.mu.Unlock()
			return
		}
		now, o.next = o.next, now[:0]
		o.change.Broadcast()
		o.mu.Unlock()

		_ = o.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // one that has no deadlines is closed in the end
		n, err := o.conn.Write(now)
		o.done(n, err)
		if err != nil {
			o.fail(err)
			_ = o.conn.Close() // err counts
			return
		}
	}
}

func (o *outlet) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
	o.change.Broadcast()
}

// close lets what was put go out, for so long at most, and takes no more.
func (o *outlet) close(within time.Duration) {
	o.mu.Lock()
	o.closing = true
	o.change.Broadcast()
	o.mu.Unlock()
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-o.gone:
	case <-t.C:
	}
}
