package outbox

import (
	"fmt"
	"time"
)

// slotLocked finds what an id names among what is handed out.
func (o *Outbox) slotLocked(id ID) *slot {
	if id.Lane >= lanes {
		return nil
	}
	run := o.run
	if id.Epoch != o.epoch {
		var ok bool
		if run, ok = o.runs[id.Epoch]; !ok {
			return nil
		}
	}
	s := o.lane[id.Lane].win.find(placeOf(run, id.Seq))
	if s == nil || s.state != flying {
		return nil
	}
	return s
}

// doneLocked settles a slot for good. The caller settles the window.
func (o *Outbox) doneLocked(lane Lane, s *slot) {
	l := &o.lane[lane]
	switch s.state {
	case flying:
		o.flights--
	case released:
		l.back--
	case waiting, done:
	}
	l.win.finish(s)
	l.queued.sub(tally{1, uint64(s.size), uint64(s.readings)})
	if s.st != nil {
		o.forgetLocked(s.st)
		l.staged.prune()
		s.st = nil
	}
	l.finish(s.place)
	if s.onDisk {
		o.ackedLocked(1)
	}
}

// finish notes what is done behind the cursor: handed out before the disk could be read, or before the backlog.
func (l *lane) finish(place uint64) {
	if place >= l.next {
		l.done = l.done.add(span{place, place})
	}
}

// ackedLocked counts what is to be written to control.db.
func (o *Outbox) ackedLocked(n int) {
	if o.acks == 0 {
		o.firstAck = time.Now()
		if at := o.firstAck.Add(ackDelay); o.alarmAt.IsZero() || at.Before(o.alarmAt) {
			o.wake()
		}
	}
	if o.acks += n; o.acks >= ackBatch {
		o.wake()
	}
}

// Ack says that the hub accepted them. What was on disk leaves it with a commit after 1 000 acks or 1 s, at Sync and at Close; what was
// acked after the last commit before a crash is handed out again. Ack waits for that commit while 1 000 are unwritten. What was never
// written costs no write at all. Unknown ids are ignored.
func (o *Outbox) Ack(ids ...ID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	touched := [lanes]bool{}
	for _, id := range ids {
		for !o.closed && o.degraded == "" && o.acks >= ackBatch {
			room := o.waitRoomLocked()
			o.mu.Unlock()
			<-room // closed by every commit, by a failing disk and by Close
			o.mu.Lock()
		}
		if o.closed {
			return ErrClosed
		}
		if s := o.slotLocked(id); s != nil {
			o.doneLocked(id.Lane, s)
			o.stats.Acked[id.Lane]++
			touched[id.Lane] = true
		} else if g := o.gapFlight[id]; g != nil {
			delete(o.gapFlight, id)
			o.dropGapLocked(g)
			o.ackedLocked(1)
			o.stats.Acked[id.Lane]++
		}
	}
	for i, on := range touched {
		if on {
			o.lane[i].settle()
		}
	}
	o.signalRoomLocked()
	return nil
}

// Release gives entries back: the next Next hands them out again, in order. Unknown ids are ignored.
func (o *Outbox) Release(ids ...ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	for _, id := range ids {
		if s := o.slotLocked(id); s != nil {
			s.state = released
			o.lane[id.Lane].back++
			o.flights--
		} else if g := o.gapFlight[id]; g != nil {
			delete(o.gapFlight, id)
			g.state = released
		}
	}
	o.signalLocked()
}

// rejection is a Reject that waits for its commit.
type rejection struct {
	letter letter
	told   bool
	done   chan error
}

// Reject moves an entry in flight to the dead letters and returns when that is fsynced. While the disk does not work it returns an error
// wrapping ErrNotDurable; the entry is not handed out again, and is moved when the disk is back. Unknown ids are ignored.
func (o *Outbox) Reject(id ID, reason string) error {
	o.mu.Lock()
	if o.closed || o.closing {
		o.mu.Unlock()
		return ErrClosed
	}
	d := DeadLetter{ID: id, Reason: reason, At: o.opt.Now()}
	if !o.takeOutLocked(&d) {
		o.mu.Unlock()
		return nil
	}
	o.deadNext++
	r := &rejection{letter: letter{o.deadNext, d.encode()}, done: make(chan error, 1)}
	o.rejects = append(o.rejects, r)
	o.stats.Rejected[id.Lane]++
	if o.degraded != "" {
		o.tellRejectLocked(r)
	}
	o.mu.Unlock()
	o.wake()
	return <-r.done
}

// takeOutLocked settles the entry that a dead letter is made of and fills the letter in. It is false when there is none, or when its
// record cannot be read.
func (o *Outbox) takeOutLocked(d *DeadLetter) bool {
	if g := o.gapFlight[d.ID]; g != nil {
		c := g.gap
		d.Gap, d.Put = &c, millis(g.put)
		delete(o.gapFlight, d.ID)
		o.dropGapLocked(g)
		return true
	}
	s := o.slotLocked(d.ID)
	if s == nil {
		return false
	}
	l := &o.lane[d.ID.Lane]
	d.Readings = int(s.readings)
	if s.st != nil {
		d.Body, d.Put = s.st.body, millis(s.st.put)
	} else if r, _ := o.againLocked(d.ID.Lane, s.place); r != nil {
		d.Body, d.Put = r.Body, millis(r.Put)
	}
	o.doneLocked(d.ID.Lane, s)
	l.settle()
	return true
}

func (o *Outbox) tellRejectLocked(r *rejection) {
	if !r.told {
		r.told = true
		r.done <- fmt.Errorf("%w: %s", ErrNotDurable, o.degraded)
	}
}

// Changed returns a channel that is closed at the next Put or Release, and at Close.
func (o *Outbox) Changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

func (o *Outbox) signalLocked() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// waitRoomLocked returns a channel that is closed when something was written or settled.
func (o *Outbox) waitRoomLocked() <-chan struct{} {
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

func (o *Outbox) signalRoomLocked() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}
