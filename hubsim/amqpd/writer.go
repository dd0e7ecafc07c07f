package amqpd

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	writeChunk = 64 << 10 // bytes that one write deadline covers
	keepBuffer = 1 << 20  // a larger buffer is not kept for reuse
	// softLimit is the number of outbound bytes above which links have no
	// credit, hardLimit that above which nothing more is read from the peer.
	softLimit = 1 << 20
	hardLimit = 4 << 20
)

var errWriteTimeout = errors.New("peer does not read")

// writer collects frames and writes them from one goroutine, so that nobody
// else waits for a peer that is slow to read.
type writer struct {
	nc      net.Conn
	timeout time.Duration
	onRoom  func() // called after every batch that was written

	wake chan struct{} // there is something to do
	room chan struct{} // something was written
	done chan struct{} // run has returned

	mu        sync.Mutex
	buf       []byte        // to be written
	inFlight  int           // bytes taken from buf and not written yet
	heartbeat time.Duration // zero: none
	finishing bool
	err       error
}

func newWriter(nc net.Conn, timeout time.Duration, onRoom func()) *writer {
	return &writer{
		nc: nc, timeout: timeout, onRoom: onRoom,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// signal sends on a channel of capacity one unless something is in it.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// raw queues bytes as they are.
func (w *writer) raw(p []byte) {
	w.mu.Lock()
	if !w.finishing && w.err == nil {
		w.buf = append(w.buf, p...)
	}
	w.mu.Unlock()
	signal(w.wake)
}

// frame queues a frame.
func (w *writer) frame(typ byte, channel uint16, p performative, payload []byte) {
	w.mu.Lock()
	if !w.finishing && w.err == nil {
		w.buf = appendFrame(w.buf, typ, channel, p, payload)
	}
	w.mu.Unlock()
	signal(w.wake)
}

// buffered returns the number of bytes that wait.
func (w *writer) buffered() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.buf) + w.inFlight
}

// waitRoom blocks while too much waits to be written.
func (w *writer) waitRoom() {
	for w.buffered() > hardLimit {
		select {
		case <-w.room:
		case <-w.done:
			return
		}
	}
}

// setHeartbeat makes the writer send an empty frame whenever it wrote nothing for d.
func (w *writer) setHeartbeat(d time.Duration) {
	w.mu.Lock()
	w.heartbeat = d
	w.mu.Unlock()
	signal(w.wake)
}

// finish lets run write what is queued, shut down the sending side and return.
func (w *writer) finish() {
	w.mu.Lock()
	w.finishing = true
	w.mu.Unlock()
	signal(w.wake)
}

// failure returns what stopped the writer early.
func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// run writes until finish or a failure.
func (w *writer) run() {
	defer close(w.done)
	var spare []byte
	for {
		w.mu.Lock()
		b := w.buf
		w.buf, w.inFlight = spare[:0], len(b)
		finishing, heartbeat := w.finishing, w.heartbeat
		w.mu.Unlock()
		if len(b) == 0 {
			spare = b
			if finishing {
				w.shutdown()
				return
			}
			w.idle(heartbeat)
			continue
		}
		if err := w.write(b); err != nil {
			w.fail(err)
			return
		}
		if spare = b; cap(b) > keepBuffer {
			spare = nil
		}
		w.onRoom()
	}
}

// idle waits for something to do; when nothing came in time it queues a heartbeat.
func (w *writer) idle(heartbeat time.Duration) {
	if heartbeat <= 0 {
		<-w.wake
		return
	}
	t := time.NewTimer(heartbeat)
	defer t.Stop()
	select {
	case <-w.wake:
	case <-t.C:
		w.frame(frameTypeAMQP, 0, nil, nil)
	}
}

func (w *writer) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writeChunk)
		if err := w.nc.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
			return err
		}
		if _, err := w.nc.Write(b[:n]); err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				return fmt.Errorf("%w for %s", errWriteTimeout, w.timeout)
			}
			return err
		}
		b = b[n:]
		w.mu.Lock()
		w.inFlight = len(b)
		w.mu.Unlock()
		signal(w.room)
	}
	return nil
}

func (w *writer) fail(err error) {
	w.mu.Lock()
	w.err = err
	w.buf = nil
	w.inFlight = 0
	w.mu.Unlock()
	_ = w.nc.Close() // ends the reader; err says why
}

// shutdown ends the sending side, or all of a connection that has no sides, so
// that the peer gets what was written before it sees the end.
func (w *writer) shutdown() {
	if half, ok := w.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		return
	}
	_ = w.nc.Close() // nothing more can be done about it
}
