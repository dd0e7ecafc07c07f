package outbox

import "iotagent/outbox/internal/segment"

// cursor goes over a lane in order, first over what is on disk, then over what is staged.
type cursor struct {
	next  uint64           // nothing at or behind it was handed out by this cursor
	block []segment.Record // what was read last
	used  int              // records of it that lie before next
}

// forget drops what was read from the disk: a segment changed.
func (c *cursor) forget() { c.block, c.used = nil, 0 }

// split says that a backlog is left and that what was put after the last Mark has a cursor of its own. Without one there is one order.
func (l *lane) split() bool { return l.next < l.mark }

// join ends the backlog: the live cursor goes on as the only one.
func (l *lane) join() { l.cursor, l.live = l.live, cursor{} }

// fresh returns the cursor over what was put after the last Mark.
func (l *lane) fresh() *cursor {
	if l.split() {
		return &l.live
	}
	return &l.cursor
}

// handed says that something between two places may have been handed out.
func (l *lane) handed(from, to uint64) bool {
	live := l.split() && l.mark <= to && l.live.next > max(l.mark, from)
	return l.next > from || live || l.win.search(from) < l.win.search(to+1) || l.done.touches(from, to)
}

// Mark makes everything that waits now the backlog of Options.LiveFirst. What was handed out ahead of an older backlog and is not settled
// stays where it stands: the cursor passes over what is in flight or done.
func (o *Outbox) Mark() {
	if !o.opt.LiveFirst {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, lane := range []Lane{Normal, Bulk} {
		l := &o.lane[lane]
		l.mark = placeOf(o.run, l.seq+1)
		l.live = cursor{next: l.mark}
	}
}

// hollowLocked notes that nothing will ever be handed out at a place, so that what is done ahead of a backlog stays a few long ranges.
func (o *Outbox) hollowLocked(lane Lane, place uint64) {
	if o.opt.LiveFirst {
		o.lane[lane].finish(place)
	}
}

// frontLocked returns what stands first at or behind a cursor and before an end: a record on disk or a staged message, nothing when there
// is neither. ok is false when it cannot be told now.
func (o *Outbox) frontLocked(lane Lane, c *cursor, end uint64) (r *segment.Record, st *staged, ok bool) {
	l := &o.lane[lane]
	if c.next <= l.flushed {
		if r, ok := o.recordLocked(lane, c, end); r != nil || !ok {
			return r, nil, ok
		}
	}
	for _, s := range l.staged.from(c.next) {
		if s.place >= end {
			break
		}
		if !s.gone && !s.written && !s.flight {
			return nil, s, true
		}
	}
	return nil, nil, true
}

// recordLocked returns the first record on disk at or behind a cursor and before an end that is neither done nor handed out, nil when
// there is none. It moves the cursor over what is.
func (o *Outbox) recordLocked(lane Lane, c *cursor, end uint64) (r *segment.Record, ok bool) {
	l := &o.lane[lane]
	for c.next < end {
		for ; c.used < len(c.block); c.used++ {
			r := &c.block[c.used]
			if r.Pos < c.next {
				continue
			}
			if r.Pos >= end {
				return nil, true
			}
			if x, skip := l.done.find(r.Pos); skip {
				c.next = min(x.to+1, end)
				continue
			}
			if !l.win.ahead(r.Pos) {
				return r, true
			}
			c.next = r.Pos + 1
		}
		s := o.segAtLocked(lane, c.next)
		if s == nil {
			c.next = min(max(c.next, l.flushed+1), end)
			return nil, true
		}
		if s.lane[lane].first >= end {
			return nil, true
		}
		if s.sick != nil || s.busy || !o.touchLocked(s, lane) {
			return nil, false
		}
		block, err := o.readLocked(s, lane, c.next)
		if err != nil {
			return nil, false
		}
		if len(block) == 0 {
			c.next = min(s.lane[lane].last+1, end)
		}
		c.block, c.used = block, 0
	}
	return nil, true
}

// segAtLocked returns the first segment that may hold something of the lane at or behind a place.
func (o *Outbox) segAtLocked(lane Lane, place uint64) *seg {
	for _, s := range o.segs {
		if x := &s.lane[lane]; x.messages > 0 && x.last >= place {
			return s
		}
	}
	return nil
}
