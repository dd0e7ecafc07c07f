package outbox

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"go.etcd.io/bbolt"
)

// picker gathers the entries of one Next.
type picker struct {
	o     *Outbox
	room  int
	bytes int
	out   []Entry
	full  bool
}

// Next hands out up to max entries of at most maxBytes together, always one if there is one: alarms first, then normal, then bulk
// ones; in a lane what was released first, then oldest first. Sent is true for what was handed out before, and for everything put in an
// earlier epoch, since nobody knows whether that was sent. Bodies are read as they are asked for: memory does not grow with the queue.
func (o *Outbox) Next(max, maxBytes int) ([]Entry, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, ErrClosed
	}
	p := &picker{o: o, room: max, bytes: maxBytes, full: max <= 0}
	if o.file == nil || o.fate != nil {
		_ = p.lanes(nil) // reads no file, which is all that can fail
		return p.out, nil
	}
	err := o.file.view(func(tx *bbolt.Tx) error {
		return p.lanes(tx.Bucket([]byte(bucketQueue)))
	})
	o.noteLocked(err)
	return p.out, nil
}

// noteLocked hands damage that a read met to the writer, which repairs the file.
func (o *Outbox) noteLocked(err error) {
	if err == nil || o.fate != nil {
		return
	}
	o.fate = err
	o.wake()
}

// lanes picks from all of them; q is nil when the file cannot be read.
func (p *picker) lanes(q *bbolt.Bucket) error {
	for i := range lanes {
		if p.full {
			return nil
		}
		if err := p.released(Lane(i), q); err != nil {
			return err
		}
		if q != nil && !p.full {
			if err := p.disk(Lane(i), q.Cursor()); err != nil {
				return err
			}
		}
		if !p.full {
			if err := p.staged(Lane(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *picker) released(lane Lane, q *bbolt.Bucket) error {
	l := &p.o.lane[lane]
	for i := 0; i < len(l.released) && !p.full; {
		k := key{lane, l.released[i]}
		it := p.o.items[k]
		var r record
		switch {
		case it != nil && it.staged != nil:
			r = it.staged.rec
		case q == nil:
			i++ // on a disk that cannot be read now
			continue
		default:
			v := q.Get(k.bytes())
			if v == nil { // lost to damage and declared by a gap
				l.released = slices.Delete(l.released, i, i+1)
				delete(p.o.items, k)
				continue
			}
			var err error
			if r, err = decode(k.bytes(), v); err != nil {
				return &damage{err}
			}
		}
		if taken, err := p.take(&r, it); err != nil || !taken {
			return err
		}
		l.released = slices.Delete(l.released, i, i+1)
	}
	return nil
}

func (p *picker) disk(lane Lane, c *bbolt.Cursor) error {
	l := &p.o.lane[lane]
	if l.next > l.onDisk {
		return nil
	}
	for k, v := c.Seek(key{lane, l.next}.bytes()); k != nil && !p.full; k, v = c.Next() {
		at, ok := parseKey(k)
		if !ok {
			return damaged("bad key %x in the queue", k)
		}
		if at.lane != lane || at.pos > l.onDisk {
			break
		}
		if p.o.items[at] == nil {
			r, err := decode(k, v)
			if err != nil {
				return &damage{err}
			}
			if taken, err := p.take(&r, nil); err != nil || !taken {
				return err
			}
		}
		l.next = at.pos + 1
	}
	if !p.full {
		l.next = l.onDisk + 1
	}
	return nil
}

func (p *picker) staged(lane Lane) error {
	l := &p.o.lane[lane]
	from := sort.Search(len(l.staged), func(i int) bool { return l.staged[i].rec.key.pos >= l.ramNext })
	for _, s := range l.staged[from:] {
		if p.full || !s.group.told {
			break
		}
		if !s.gone && !s.onDisk && s.it == nil {
			if taken, err := p.take(&s.rec, nil); err != nil || !taken {
				return err
			}
			s.it = p.o.items[s.rec.key]
			s.it.staged = s
		}
		l.ramNext = s.rec.key.pos + 1
	}
	return nil
}

// take hands one record out if it fits; it is the item that was released, or nil.
func (p *picker) take(r *record, it *item) (bool, error) {
	if len(p.out) > 0 && len(r.body) > p.bytes {
		p.full = true
		return false, nil
	}
	if it == nil {
		it = &item{key: r.key, id: r.id}
	}
	e, err := r.entry(it.sent || r.id.Epoch != p.o.epoch)
	if err != nil {
		return false, &damage{err}
	}
	if r.isGap() {
		p.o.sealLocked(r.key)
	}
	it.id, it.state, it.sent = r.id, inFlight, true
	p.o.items[it.key], p.o.flight[it.id] = it, it
	p.out = append(p.out, e)
	p.bytes -= len(r.body)
	p.room--
	p.full = p.room <= 0
	return true, nil
}

// Ack says that the hub accepted them. They leave the disk with a commit after 1 000 acks or 1 s, at Sync and at Close; what was acked
// after the last commit before a crash is handed out again. Ack waits for a commit only when 2 000 acks are unwritten. Unknown ids
// are ignored.
func (o *Outbox) Ack(ids ...ID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && o.degraded == "" && len(o.acked) >= 2*ackBatch {
		room := o.room
		o.mu.Unlock()
		<-room // closed by every commit, by a failing disk and by Close
		o.mu.Lock()
	}
	if o.closed {
		return ErrClosed
	}
	before, freed := len(o.acked), false
	for _, id := range ids {
		it := o.flight[id]
		if it == nil {
			continue
		}
		delete(o.flight, id)
		o.stats.Acked[id.Lane]++
		if it.staged != nil {
			o.forgetLocked(it.staged)
			delete(o.items, it.key)
			freed = true
			continue
		}
		it.state = leaving
		o.acked = append(o.acked, it.key)
	}
	if freed {
		o.pruneLocked()
		o.signalRoomLocked()
	}
	if len(o.acked) > before {
		if before == 0 {
			o.firstAck = time.Now()
		}
		if before == 0 || len(o.acked) >= ackBatch {
			o.wake()
		}
	}
	return nil
}

// Release gives entries back: the next Next hands them out again, in order. Unknown ids are ignored.
func (o *Outbox) Release(ids ...ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	touched := false
	for _, id := range ids {
		if it := o.flight[id]; it != nil {
			delete(o.flight, id)
			o.giveBackLocked(it)
			touched = true
		}
	}
	if touched {
		for i := range o.lane {
			slices.Sort(o.lane[i].released)
		}
		o.signalLocked()
	}
}

// giveBackLocked makes an item one that Next hands out. The caller sorts.
func (o *Outbox) giveBackLocked(it *item) {
	l := &o.lane[it.key.lane]
	it.state = released
	o.items[it.key] = it
	l.released = append(l.released, it.key.pos)
	l.dropFrom = min(l.dropFrom, it.key.pos)
}

// Reject moves an entry in flight to the dead letters and returns when that is fsynced. While the disk does not work it returns an error
// wrapping ErrNotDurable; the entry is not handed out again, and is moved when the disk is back. Unknown ids are ignored.
func (o *Outbox) Reject(id ID, reason string) error {
	o.mu.Lock()
	if o.closed || o.closing {
		o.mu.Unlock()
		return ErrClosed
	}
	it := o.flight[id]
	if it == nil {
		o.mu.Unlock()
		return nil
	}
	delete(o.flight, id)
	it.state = leaving
	r := &rejection{key: it.key, it: it, reason: reason, at: o.opt.Now().UnixNano(), done: make(chan error, 1)}
	if it.staged != nil {
		r.value = it.staged.rec.encode()
		o.forgetLocked(it.staged)
		o.pruneLocked()
	}
	o.rejects = append(o.rejects, r)
	o.stats.Rejected[id.Lane]++
	if o.degraded != "" {
		o.tellRejectLocked(r)
	}
	o.mu.Unlock()
	o.wake()
	return <-r.done
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
