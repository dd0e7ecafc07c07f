package outbox

import (
	"context"
	"math"
	"slices"
	"time"

	"iotagent/outbox/internal/segment"
)

// Scan implements Admin. It reads block by block and holds up nobody for longer than that.
func (o *Outbox) Scan(ctx context.Context, so ScanOptions, fn func(Item) error) error {
	for lane := range Lane(lanes) {
		if so.Lanes != nil && !slices.Contains(so.Lanes, lane) {
			continue
		}
		for at, more := uint64(0), true; more; {
			var items []Item
			var err error
			items, at, more, err = o.scanSome(lane, at, so.Bodies)
			if err != nil {
				return err
			}
			for _, it := range items {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := fn(it); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// scanSome returns what a block or a part of the memory stage holds at or behind a place, with the gaps before it, and where to go on.
func (o *Outbox) scanSome(lane Lane, at uint64, bodies bool) (items []Item, next uint64, more bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, 0, false, ErrClosed
	}
	l := &o.lane[lane]
	at = max(at, l.head())
	s := o.segAtLocked(lane, at)
	if s == nil {
		return o.scanStagedLocked(lane, at, bodies)
	}
	block, err := o.readLocked(s, lane, at)
	if err != nil {
		return nil, 0, false, err
	}
	next = s.lane[lane].last + 1
	if len(block) > 0 {
		next = block[len(block)-1].Pos + 1
	}
	for i := range block {
		r := &block[i]
		if w := l.win.find(r.Pos); r.Pos < at || l.done.has(r.Pos) || w != nil && w.state == done {
			continue
		}
		items = append(items, l.gapItems(at, r.Pos)...)
		at = r.Pos
		items = append(items, o.item(lane, l, r, bodies))
	}
	items = append(items, l.gapItems(at, next)...)
	return items, next, true, nil
}

func (o *Outbox) item(lane Lane, l *lane, r *segment.Record, bodies bool) Item {
	w := l.win.find(r.Pos)
	it := Item{
		Entry: o.entry(lane, r, w != nil || runOf(r.Pos) != o.run), Size: len(r.Body), Put: millis(r.Put),
		Durable: r.Flags&flagDurable != 0, InFlight: w != nil && w.state == flying, OnDisk: true,
	}
	if !bodies {
		it.Body = nil
	}
	return it
}

// gapItems are the gaps that stand at or behind one place and before another.
func (l *lane) gapItems(from, to uint64) (items []Item) {
	for _, g := range l.gaps {
		if (g.place >= from || from == l.head()) && g.place < to {
			items = append(items, Item{Entry: g.entry(g.sent), Put: millis(g.put), Durable: true, InFlight: g.state == flying, OnDisk: !g.fresh})
		}
	}
	return items
}

// scanStagedLocked shows what is in memory only, and the gaps that are left.
func (o *Outbox) scanStagedLocked(lane Lane, at uint64, bodies bool) (items []Item, next uint64, more bool, err error) {
	l := &o.lane[lane]
	for _, m := range l.staged.all() {
		if m.gone || m.written || m.place < at {
			continue
		}
		items = append(items, l.gapItems(at, m.place)...)
		at = m.place
		it := Item{
			Entry: o.stagedEntry(lane, m, m.flight), Size: len(m.body), Put: millis(m.put), Durable: m.flags&flagDurable != 0,
		}
		if w := l.win.find(m.place); w != nil {
			it.InFlight = w.state == flying
		}
		it.Body = nil
		if bodies {
			it.Body = slices.Clone(m.body)
		}
		items = append(items, it)
	}
	return append(items, l.gapItems(at, math.MaxUint64)...), math.MaxUint64, false, nil
}

// job is what the writer is asked to do.
type job struct {
	do  func() error
	res chan error // holds one
}

// do has the writer run a job and waits for it. While the disk does not even let the writer get there it returns why.
func (o *Outbox) do(ctx context.Context, fn func() error) error {
	o.mu.Lock()
	if o.closed || o.closing {
		o.mu.Unlock()
		return ErrClosed
	}
	if o.opt.ReadOnly {
		defer o.mu.Unlock()
		return ErrReadOnly
	}
	j := job{do: fn, res: make(chan error, 1)}
	o.jobs = append(o.jobs, j)
	o.mu.Unlock()
	o.wake()
	select {
	case err := <-j.res:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Purge implements Admin. What was put at a time or later, and all behind it in its lane, stays.
func (o *Outbox) Purge(ctx context.Context, which []Lane, before time.Time) (p Purged, err error) {
	err = o.do(ctx, func() error {
		for lane := range Lane(lanes) {
			if which != nil && !slices.Contains(which, lane) {
				continue
			}
			was := o.lane[lane].queued
			if err := o.purgeLocked(lane, before); err != nil {
				return err
			}
			now := o.lane[lane].queued
			p.Messages += was.messages - now.messages
			p.Readings += was.readings - now.readings
		}
		return nil
	})
	if err != nil {
		return p, err
	}
	return p, o.Sync(ctx)
}

func (o *Outbox) purgeLocked(lane Lane, before time.Time) error {
	l := &o.lane[lane]
	for _, s := range slices.Clone(o.segs) {
		if !o.droppableLocked(s, lane) {
			continue
		}
		to, whole, err := o.putBeforeLocked(s, lane, before)
		if err != nil {
			return err
		}
		if to == 0 {
			return nil
		}
		if err := o.dropLocked(s, lane, to, reasonPurged); err != nil {
			return err
		}
		if !whole {
			return nil
		}
	}
	for _, m := range slices.Clone(l.staged.all()) {
		if !before.IsZero() && !millis(m.put).Before(before) {
			break
		}
		if !m.gone && !m.written && !m.flight {
			o.loseStagedLocked(m, reasonPurged)
		}
	}
	return nil
}

// putBeforeLocked returns the last place of a lane in a segment whose messages up to there were all put before a time, 0 when there is
// none, and whether that is the segment's last.
func (o *Outbox) putBeforeLocked(s *seg, lane Lane, before time.Time) (to uint64, whole bool, err error) {
	x := &s.lane[lane]
	if before.IsZero() || millis(x.newest).Before(before) {
		return x.last, true, nil
	}
	for at := max(x.first, o.lane[lane].head()); at <= x.last; {
		block, err := o.readLocked(s, lane, at)
		if err != nil || len(block) == 0 {
			return to, false, err
		}
		for _, r := range block {
			if !millis(r.Put).Before(before) {
				return to, false, nil
			}
			to = max(to, r.Pos)
		}
		at = block[len(block)-1].Pos + 1
	}
	return to, to == x.last, nil
}

// PurgeDead implements Admin.
func (o *Outbox) PurgeDead(ctx context.Context) (n uint64, err error) {
	err = o.do(ctx, func() error {
		for _, l := range o.control.letters {
			o.unearth = append(o.unearth, l.number)
		}
		n = uint64(len(o.unearth))
		return nil
	})
	if err != nil {
		return n, err
	}
	return n, o.Sync(ctx)
}

// Check implements Admin. Segments that take no more are read without holding anybody up; the others by the writer.
func (o *Outbox) Check(ctx context.Context) (Report, error) { return o.checkAll(ctx, false) }

// Repair implements Admin.
func (o *Outbox) Repair(ctx context.Context) (Report, error) { return o.checkAll(ctx, true) }
