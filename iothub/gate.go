package iothub

import (
	"context"
	"sync"
	"time"
)

// gate stands in the way of every telemetry message. It holds senders back until the hub can take one: it follows the link's credit and the session's
// window as the frames go by. (The AMQP library waits for both by itself, but while it waits for a window it heeds no context, and a context that ends in
// mid transfer leaves half a message behind.) And it keeps the receipts of what is in flight and gives each its outcome as soon as the disposition is read,
// where the library may forget outcomes when the link ends right after them. It outlives the link: what was in flight on one that is lost is Unknown.
type gate struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at a change that somebody waits for
	awaited bool
	shut    error  // why no more messages go out
	ordered bool   // a loss shuts it until resume
	cut     bool   // there was such a loss
	settled func() // told of each outcome; must not block

	credit uint32 // messages that may have been sent in all (delivery-count + link-credit of the hub's last flow)
	sent   uint32 // messages let through
	window uint32 // transfer frames that may have been sent in all
	frames uint32 // transfer frames sent

	link    int                 // counts the links
	current *Receipt            // let through and not yet written
	on      int                 // the link that it was let through for
	flight  map[uint32]*Receipt // written and not settled, by delivery-id
	hungry  time.Time           // since when somebody waits for credit or window; zero when nobody does
}

func newGate(settled func()) *gate {
	return &gate{changed: make(chan struct{}), flight: map[uint32]*Receipt{}, settled: settled}
}

// fresh begins with a new link, which has no credit yet.
func (g *gate) fresh(window, frames uint32) {
	g.change(func() {
		g.link++
		g.credit, g.sent = 0, 0
		g.window, g.frames = window, frames
		if !g.hungry.IsZero() {
			g.hungry = time.Now()
		}
	})
}

// resume lets messages through again after a loss.
func (g *gate) resume() {
	g.change(func() { g.cut = false })
}

// open takes note of the window and the credit that the hub gives, both counted from the link's beginning.
func (g *gate) open(window, credit uint32) {
	g.change(func() { g.window, g.credit = window, credit })
}

// enter waits until a message may go out and counts it, or returns why not: such a message was not sent. One message at a time may be between enter and leave.
func (g *gate) enter(ctx context.Context, done <-chan struct{}, r *Receipt) error {
	err := g.wait(ctx, done, func() (bool, error) {
		if g.shut != nil {
			return false, g.shut
		}
		if g.cut {
			return false, ErrInterrupted
		}
		// Serial numbers: the difference wraps (AMQP 1.0 part 2 §2.6.7).
		if int32(g.credit-g.sent) > 0 && int32(g.window-g.frames) > 0 {
			g.sent++
			g.current, g.on, g.hungry = r, g.link, time.Time{}
			return true, nil
		}
		if g.hungry.IsZero() {
			g.hungry = time.Now()
		}
		return false, nil
	})
	if err != nil {
		g.change(func() { g.hungry = time.Time{} })
	}
	return err
}

// more waits until another frame of the message between enter and leave may go out.
func (g *gate) more(ctx context.Context, done <-chan struct{}) error {
	return g.wait(ctx, done, func() (bool, error) {
		switch {
		case g.on != g.link:
			return false, errNoLink
		case int32(g.window-g.frames) > 0:
			g.hungry = time.Time{}
			return true, nil
		case g.hungry.IsZero():
			g.hungry = time.Now()
		}
		return false, nil
	})
}

// leave ends the writing of a message. What was never written gives its credit back; wrote says whether any of it was.
func (g *gate) leave() (wrote bool) {
	g.change(func() {
		if wrote = g.current == nil; !wrote {
			g.current = nil
			if g.on == g.link {
				g.sent--
			}
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

// written takes note of a transfer frame; id is the delivery's, in its first frame. What goes out on a link that is gone reaches nobody.
func (g *gate) written(frames uint32, id uint32, first, gone bool) {
	g.change(func() {
		g.frames = frames
		switch {
		case !first || g.current == nil:
		case gone:
			g.current.settle(lostInFlight())
			g.current = nil
		default:
			g.flight[id] = g.current
			g.current = nil
		}
	})
}

// lose gives up what is in flight, and holds everybody back until there is a link again.
func (g *gate) lose() {
	g.change(func() {
		g.link++
		g.cut = g.ordered
		g.credit = g.sent
		for id, r := range g.flight {
			r.settle(lostInFlight())
			delete(g.flight, id)
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
				r.settle(o)
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

// owed is for how long the hub has owed something.
type owed struct {
	settlement time.Duration // since the oldest message in flight was written
	credit     time.Duration // since somebody waits for the link's credit
	window     time.Duration // … for the session's window
}

func (g *gate) owed() owed {
	g.mu.Lock()
	defer g.mu.Unlock()
	var w owed
	now := time.Now()
	for _, r := range g.flight {
		w.settlement = max(w.settlement, now.Sub(r.written))
	}
	if !g.hungry.IsZero() {
		w.credit = now.Sub(g.hungry)
		if int32(g.credit-g.sent) > 0 {
			w.credit, w.window = 0, w.credit
		}
	}
	return w
}

func (o owed) longest() time.Duration { return max(o.settlement, o.credit, o.window) }

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
