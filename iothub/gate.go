package iothub

import (
	"context"
	"sync"
)

// gate stands in the way of every telemetry message. It holds senders back until the hub can take one: it follows the link's credit and the session's
// window as the frames go by. (The AMQP library waits for both by itself, but while it waits for a window it heeds no context, and a context that ends in
// mid transfer leaves half a message behind.) And it keeps the receipts of what is in flight and gives each its outcome as soon as the disposition is read,
// where the library may forget outcomes when the link ends right after them.
type gate struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at a change that somebody waits for
	awaited bool
	shut    error  // why no more messages go out
	settled func() // told of each outcome; must not block

	credit uint32 // messages that may have been sent in all (delivery-count + link-credit of the hub's last flow)
	sent   uint32 // messages let through
	window uint32 // transfer frames that may have been sent in all
	frames uint32 // transfer frames sent

	current *Receipt            // let through and not yet written
	flight  map[uint32]*Receipt // written and not settled, by delivery-id
}

func newGate(settled func()) *gate {
	return &gate{changed: make(chan struct{}), flight: map[uint32]*Receipt{}, settled: settled}
}

// enter waits until a message may go out and counts it, or returns why not: such a message was not sent. One message at a time may be between enter and leave.
func (g *gate) enter(ctx context.Context, done <-chan struct{}, r *Receipt) error {
	return g.wait(ctx, done, func() (bool, error) {
		// Serial numbers: the difference wraps (AMQP 1.0 part 2 §2.6.7).
		open := int32(g.credit-g.sent) > 0 && int32(g.window-g.frames) > 0
		if g.shut == nil && open {
			g.sent++
			g.current = r
		}
		return open, g.shut
	})
}

// leave ends the writing of a message. What was never written gives its credit back; wrote says whether any of it was.
func (g *gate) leave() (wrote bool) {
	g.change(func() {
		if wrote = g.current == nil; !wrote {
			g.current = nil
			g.sent--
		}
	})
	return wrote
}

// drained waits until nothing is in flight.
func (g *gate) drained(ctx context.Context, done <-chan struct{}) error {
	return g.wait(ctx, done, func() (bool, error) { return g.current == nil && len(g.flight) == 0, nil })
}

// close lets nobody in any more.
func (g *gate) close(why error) {
	g.change(func() {
		if g.shut == nil {
			g.shut = why
		}
	})
}

// written takes note of a transfer frame; id is the delivery's, in its first frame.
func (g *gate) written(frames uint32, id uint32, first bool) {
	g.change(func() {
		g.frames = frames
		if first && g.current != nil {
			g.flight[id] = g.current
			g.current = nil
		}
	})
}

// outcome settles the deliveries first to last.
func (g *gate) outcome(first, last uint32, o Outcome) {
	n := 0
	g.change(func() {
		settle := func(id uint32) {
			if r := g.flight[id]; r != nil {
				delete(g.flight, id)
				r.outcome = o
				close(r.done)
				n++
			}
		}
		if last-first < uint32(len(g.flight)) {
			for id := first; id <= last; id++ {
				settle(id)
			}
			return
		}
		for id := range g.flight {
			if id >= first && id <= last {
				settle(id)
			}
		}
	})
	if n > 0 {
		g.settled()
	}
}

func (g *gate) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	if g.awaited {
		close(g.changed)
		g.changed, g.awaited = make(chan struct{}), false
	}
}

func (g *gate) wait(ctx context.Context, done <-chan struct{}, try func() (bool, error)) error {
	for {
		g.mu.Lock()
		changed := g.changed
		ok, err := try()
		g.awaited = g.awaited || (!ok && err == nil)
		g.mu.Unlock()
		if ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-done:
			return errClosed
		}
	}
}
