package outbox

import (
	"context"
	"fmt"
	"math"
	"time"
)

// group is one Put that waits for the disk.
type group struct {
	left int  // messages that are not written, and the marker if it waits for that
	told bool // Put has returned
	err  error
	done chan struct{}
}

// Put queues messages in the order given and returns their ids. Durable ones, and all when MaxLoss is 0, wait for the fsync that covers
// them, which concurrent calls share; others are staged and return at once. When the disk does not work, or ctx ends while it is being
// written, ids come with an error wrapping ErrNotDurable.
func (o *Outbox) Put(ctx context.Context, ms ...Message) ([]ID, error) {
	size, err := o.check(ms)
	if err != nil || len(ms) == 0 {
		return nil, err
	}
	ids, g, err := o.stagePut(ctx, ms, size)
	if err != nil || g == nil {
		return ids, err
	}
	select {
	case <-g.done:
		return ids, g.err
	case <-ctx.Done():
		return ids, fmt.Errorf("%w: %w", ErrNotDurable, context.Cause(ctx))
	}
}

func (o *Outbox) check(ms []Message) (size int64, err error) {
	if o.opt.ReadOnly {
		return 0, ErrReadOnly
	}
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

// overhead is what a message in memory costs beside its body, rounded up.
const overhead = 160

func (s *staged) size() int64 { return int64(len(s.body)) + overhead }

// stagePut waits for room and takes the messages in. It returns a group when they wait for the disk.
func (o *Outbox) stagePut(ctx context.Context, ms []Message, size int64) ([]ID, *group, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, nil, err
		}
		if o.closed || o.closing {
			return nil, nil, ErrClosed
		}
		if o.stagedBytes+size <= o.opt.MaxRAM || o.degraded != "" && o.displaceLocked(ms, size) {
			break
		}
		if o.degraded != "" {
			return nil, nil, fmt.Errorf("%w: %s", ErrFull, o.degraded)
		}
		o.wake()
		room := o.waitRoomLocked()
		o.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
		o.mu.Lock()
	}
	ids, g := o.takeInLocked(ms, size)
	return ids, g, nil
}

func (o *Outbox) takeInLocked(ms []Message, size int64) ([]ID, *group) {
	ids := make([]ID, len(ms))
	slab := make([]staged, len(ms))
	bodies := make([]byte, 0, size-int64(len(ms))*overhead)
	now, wall := time.Now(), o.nowMillis()
	var g *group
	mark := false
	for i := range ms {
		m, s := &ms[i], &slab[i]
		l := &o.lane[m.Lane]
		l.seq++
		ids[i] = ID{Epoch: o.epoch, Lane: m.Lane, Seq: l.seq}
		at := len(bodies)
		bodies = append(bodies, m.Body...)
		*s = staged{
			lane: m.Lane, place: placeOf(o.run, l.seq), put: wall, due: now.Add(o.opt.MaxLoss - m.Age), body: bodies[at:len(bodies):len(bodies)],
			readings: uint32(min(max(m.Readings, 0), math.MaxInt32)),
		}
		if m.Durable {
			s.flags |= flagDurable
		}
		if m.Durable || o.opt.MaxLoss <= 0 {
			if g == nil {
				g = &group{done: make(chan struct{})}
			}
			g.left++
			s.group = g
			o.urgent++
		} else if !o.marked[m.Lane] {
			o.marker[m.Lane], o.markerDue, mark = true, true, true
		}
		l.staged.push(s)
		l.queued.add(tally{1, uint64(len(s.body)), uint64(s.readings)})
		o.stats.Put[m.Lane]++
		o.dueLocked(s.due)
	}
	o.stagedBytes += size
	if mark { // before it returns, a crash must be one that is noticed
		if g == nil {
			g = &group{done: make(chan struct{})}
		}
		g.left++
		o.marking = append(o.marking, g)
	}
	if g != nil && o.degraded != "" {
		o.tellLocked(g)
	}
	if g != nil || o.stagedBytes > o.opt.MaxRAM/4 {
		o.wake()
	}
	o.signalLocked()
	return ids, g
}

// dueLocked makes sure that the writer looks again in time.
func (o *Outbox) dueLocked(at time.Time) {
	if o.due.IsZero() || at.Before(o.due) {
		o.due = at
		if o.alarmAt.IsZero() || at.Before(o.alarmAt) {
			o.wake()
		}
	}
}

// tellLocked lets a Put return although the disk did not take its messages; they may be handed out from memory.
func (o *Outbox) tellLocked(g *group) {
	if g.told {
		return
	}
	g.told = true
	g.err = fmt.Errorf("%w: %s", ErrNotDurable, o.degraded)
	close(g.done)
}

// forgetLocked frees a staged message that will not be needed again.
func (o *Outbox) forgetLocked(s *staged) {
	if s.gone || s.written {
		return
	}
	s.gone = true
	o.unstageLocked(s)
}

func (o *Outbox) unstageLocked(s *staged) {
	o.stagedBytes -= s.size()
	s.body = nil
	if s.group != nil {
		o.urgent--
		s.group.one()
	}
}

// one notes that one thing the group waits for is done.
func (g *group) one() {
	if g.left--; g.left == 0 && !g.told {
		g.told = true
		close(g.done)
	}
}

// displaceLocked makes room in memory for new messages by losing older ones that are no more urgent; bulk goes first.
func (o *Outbox) displaceLocked(ms []Message, size int64) bool {
	if o.writing { // what is being written cannot be lost
		return false
	}
	most := Bulk
	for i := range ms {
		most = min(most, ms[i].Lane)
	}
	need := o.stagedBytes + size - o.opt.MaxRAM
	var victims []*staged
	for _, l := range []Lane{Bulk, Normal, Alarm} {
		if l < most {
			break
		}
		for _, s := range o.lane[l].staged.all() {
			if need > 0 && !s.gone && !s.written && !s.flight && s.flags&flagDurable == 0 {
				victims = append(victims, s)
				need -= s.size()
			}
		}
	}
	if need > 0 {
		return false
	}
	for _, s := range victims {
		o.loseStagedLocked(s, reasonMemory)
	}
	return true
}

// loseStagedLocked declares a staged message lost.
func (o *Outbox) loseStagedLocked(s *staged, reason string) {
	l := &o.lane[s.lane]
	seq := seqOf(s.place)
	o.lossLocked(s.place, Gap{
		Epoch: o.epoch, Lane: s.lane, From: seq, To: seq, Messages: 1, Readings: uint64(s.readings), Reason: reason,
	})
	l.queued.sub(tally{1, uint64(len(s.body)), uint64(s.readings)})
	o.stats.Dropped[s.lane]++
	o.forgetLocked(s)
	o.hollowLocked(s.lane, s.place)
	l.staged.prune()
}
