package outbox

import (
	"context"
	"fmt"
	"math"
)

// group is one Put: its messages are written in one transaction.
type group struct {
	msgs    []*staged
	bytes   int64
	written bool
	told    bool // its Put has returned ErrNotDurable: the messages may be handed out from memory
	err     error
	done    chan struct{}
}

// staged is a message that is not known to be on disk.
type staged struct {
	rec    record
	group  *group
	it     *item // once it was handed out
	onDisk bool
	gone   bool // acked, rejected or dropped before it was written
}

// Put queues messages in the order given and returns when one fsync has covered them all; concurrent calls share it. When the disk does not
// work it returns ids and an error wrapping ErrNotDurable; so it does when ctx ends while the write is under way.
func (o *Outbox) Put(ctx context.Context, ms ...Message) ([]ID, error) {
	size, err := o.check(ms)
	if err != nil || len(ms) == 0 {
		return nil, err
	}
	g := &group{done: make(chan struct{}), bytes: size}
	ids, err := o.stage(ctx, g, ms)
	if err != nil {
		return nil, err
	}
	o.wake()
	select {
	case <-g.done:
		return ids, g.err
	case <-ctx.Done():
		return ids, fmt.Errorf("%w: %w", ErrNotDurable, context.Cause(ctx))
	}
}

func (o *Outbox) check(ms []Message) (size int64, err error) {
	for i := range ms {
		m := &ms[i]
		if m.Lane >= lanes {
			return 0, fmt.Errorf("message %d: no such lane: %s", i, m.Lane)
		}
		if len(m.Body) > o.opt.MaxMessage {
			return 0, fmt.Errorf("message %d: %w: %d bytes, at most %d", i, ErrTooLarge, len(m.Body), o.opt.MaxMessage)
		}
		size += int64(len(m.Body)) + overhead
	}
	if size > o.opt.MaxRAM {
		return 0, fmt.Errorf("%d messages in one put: %w: %d bytes together, at most %d", len(ms), ErrTooLarge, size, o.opt.MaxRAM)
	}
	return size, nil
}

// stage waits for room and gives the messages their ids.
func (o *Outbox) stage(ctx context.Context, g *group, ms []Message) ([]ID, error) {
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		o.mu.Lock()
		if o.closed || o.closing {
			o.mu.Unlock()
			return nil, ErrClosed
		}
		if o.stagedBytes+g.bytes <= o.opt.MaxRAM {
			break
		}
		if o.degraded != "" {
			defer o.mu.Unlock()
			return nil, fmt.Errorf("%w: %s", ErrFull, o.degraded)
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
	}
	defer o.mu.Unlock()
	ids := make([]ID, len(ms))
	now := o.opt.Now().UnixNano()
	for i := range ms {
		ids[i] = o.stageLocked(g, &ms[i], now)
	}
	o.groups = append(o.groups, g)
	o.stagedBytes += g.bytes
	if o.degraded != "" {
		o.tellLocked(g)
		o.signalLocked()
	}
	return ids, nil
}

func (o *Outbox) stageLocked(g *group, m *Message, now int64) ID {
	l := &o.lane[m.Lane]
	l.tail++
	s := &staged{group: g, rec: record{
		key:      key{lane: m.Lane, pos: l.tail},
		id:       ID{Epoch: o.epoch, Lane: m.Lane, Seq: l.tail - l.base},
		readings: uint32(min(max(m.Readings, 0), math.MaxInt32)),
		put:      now,
		body:     append([]byte{}, m.Body...),
	}}
	if m.Durable {
		s.rec.flags |= flagDurable
	}
	l.staged = append(l.staged, s)
	g.msgs = append(g.msgs, s)
	o.stats.Put[m.Lane]++
	return s.rec.id
}

// tellLocked lets a Put return although the disk did not take its messages.
func (o *Outbox) tellLocked(g *group) {
	if g.told || g.written {
		return
	}
	g.told = true
	g.err = fmt.Errorf("%w: %s", ErrNotDurable, o.degraded)
	close(g.done)
}

// forgetLocked frees a staged message that will not be needed again.
func (o *Outbox) forgetLocked(s *staged) {
	if s.gone || s.onDisk {
		return
	}
	s.gone = true
	o.stagedBytes -= s.rec.size()
	s.rec.body = nil
}

// pruneLocked takes what is written or gone off the fronts of the staging lists.
func (o *Outbox) pruneLocked() {
	for len(o.groups) > 0 && o.groups[0].finished() {
		o.groups[0] = nil
		o.groups = o.groups[1:]
	}
	for i := range o.lane {
		l := &o.lane[i]
		for len(l.staged) > 0 && (l.staged[0].onDisk || l.staged[0].gone) {
			l.staged[0] = nil
			l.staged = l.staged[1:]
		}
	}
}

func (g *group) finished() bool {
	if g.written || !g.told {
		return g.written
	}
	for _, s := range g.msgs {
		if !s.gone {
			return false
		}
	}
	return true
}

func (o *Outbox) signalLocked() {
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *Outbox) signalRoomLocked() {
	close(o.room)
	o.room = make(chan struct{})
}
