package outbox

import (
	"time"

	"golang.org/x/sys/unix"

	"iotagent/outbox/internal/segment"
)

// diskLocked is what the files take.
func (o *Outbox) diskLocked() int64 {
	n := int64(0)
	for _, s := range o.segs {
		n += s.disk
	}
	if o.control != nil {
		n += o.control.diskBytes()
	}
	return n
}

// limitLocked is how much the files may take: the quota, or what there was when the file
// system came to have less left than it must keep. Looked up at most once a second.
func (o *Outbox) limitLocked() int64 {
	if now := time.Now(); o.limitAt.IsZero() || now.Sub(o.limitAt) >= time.Second {
		o.limitAt = now
		o.lack = lack(o.dir, o.opt.MinFree)
	}
	if o.lack <= 0 {
		o.ceiling = 0
		return o.opt.MaxBytes
	}
	if o.ceiling == 0 {
		o.ceiling = max(o.diskLocked(), o.segBytes) + 2*o.segBytes
	}
	return min(o.opt.MaxBytes, o.ceiling)
}

// lack is by how much the file system that holds dir has less free than floor.
func lack(dir string, floor int64) int64 {
	var st unix.Statfs_t
	if floor < 0 || unix.Statfs(dir, &st) != nil {
		return 0
	}
	block := int64(st.Bsize) //nolint:unconvert // 32 bits wide on some machines
	if floor == 0 {
		floor = min(defaultMinFree, int64(st.Blocks)*block/20)
	}
	return floor - int64(st.Bavail)*block
}

const defaultMinFree = 64 << 20

// targetLocked leaves room below the limit for a commit, and for a segment that is written anew before the old one goes.
func (o *Outbox) targetLocked() int64 { return o.limitLocked() - 2*o.segBytes }

// tightLocked says that more must go before more can come.
func (o *Outbox) tightLocked() bool {
	return o.diskLocked() > o.targetLocked() && o.canMakeRoomLocked()
}

func (o *Outbox) canMakeRoomLocked() bool {
	s, _ := o.victimLocked()
	return s != nil
}

// victimLocked finds what goes first: the least urgent lane that has something, and the oldest segment with some of it.
func (o *Outbox) victimLocked() (*seg, Lane) {
	for _, lane := range []Lane{Bulk, Normal, Alarm} {
		for _, s := range o.segs {
			if s.sick == nil && o.droppableLocked(s, lane) {
				return s, lane
			}
		}
	}
	return nil, 0
}

// droppableLocked says whether a segment holds messages of a lane that are neither done nor handed out.
func (o *Outbox) droppableLocked(s *seg, lane Lane) bool {
	l, x := &o.lane[lane], &s.lane[lane]
	if x.messages == 0 || x.last < l.head() {
		return false
	}
	if l.waits(max(x.first, l.next), x.last) {
		return true
	}
	if l.back == 0 {
		return false
	}
	for i := l.win.search(x.first); i < l.win.len() && l.win.at(i).place <= x.last; i++ {
		if l.win.at(i).state == released {
			return true
		}
	}
	return false
}

// waits says that something between two places behind the cursor was neither handed out nor is done.
func (l *lane) waits(from, to uint64) bool {
	for from <= to {
		if x, ok := l.done.find(from); ok {
			from = x.to + 1
		} else if l.win.ahead(from) {
			from++
		} else {
			return true
		}
	}
	return false
}

// finishAll notes as done what lies between two places and is not in the window.
func (l *lane) finishAll(from, to uint64) {
	for i := l.win.search(from); i < l.win.len() && l.win.at(i).place <= to; i++ {
		place := l.win.at(i).place
		if place > from {
			l.done = l.done.add(span{from, place - 1})
		}
		from = place + 1
	}
	if from <= to {
		l.done = l.done.add(span{from, to})
	}
}

func (s spans) covers(from, to uint64) bool {
	x, ok := s.find(from)
	return ok && x.to >= to
}

// makeRoomLocked drops what goes first and gives its space back.
func (o *Outbox) makeRoomLocked() error {
	s, lane := o.victimLocked()
	if s == nil {
		return nil
	}
	if s.active {
		return o.rollLocked() // a file that takes appends is not written anew
	}
	before := o.stats.Dropped[lane]
	if err := o.dropLocked(s, lane, s.lane[lane].last, reasonQuota); err != nil {
		return nil //nolint:nilerr // it was noted, and is repaired first
	}
	o.opt.Logger.Warn("outbox is at its limit: the oldest messages of the least urgent lane are dropped",
		"lane", lane.String(), "messages", o.stats.Dropped[lane]-before, "disk_bytes", o.diskLocked(), "limit_bytes", o.limitLocked())
	if err := o.commitControlLocked(); err != nil || o.control == nil {
		return err
	}
	if o.diskLocked() <= o.targetLocked() || !o.holdsLocked(s) {
		return nil
	}
	return o.rewriteLocked(o.neighboursLocked(s), nil)
}

func (o *Outbox) holdsLocked(s *seg) bool {
	for _, x := range o.segs {
		if x == s {
			return true
		}
	}
	return false
}

// neighboursLocked returns a segment with the small ones right before it, so that many remainders become one.
func (o *Outbox) neighboursLocked(s *seg) []*seg {
	at := 0
	for o.segs[at] != s {
		at++
	}
	from, size := at, int64(0)
	for from > 0 && size+o.segs[from-1].disk <= o.segBytes/2 && o.segs[from-1].sick == nil {
		from--
		size += o.segs[from].disk
	}
	return append([]*seg(nil), o.segs[from:at+1]...)
}

// dropLocked throws away what a segment holds of a lane up to a place, but for what is in flight, and declares it. An error says that
// the segment could not be read, which was noted.
func (o *Outbox) dropLocked(s *seg, lane Lane, to uint64, reason string) error {
	l, x := &o.lane[lane], &s.lane[lane]
	for i := l.win.search(x.first); i < l.win.len() && l.win.at(i).place <= to; i++ {
		w := l.win.at(i)
		if w.state != released || !w.onDisk {
			continue
		}
		seq := seqOf(w.place)
		o.doneLocked(lane, w)
		o.dropped(lane, w.place, Gap{From: seq, To: seq, Messages: 1, Readings: uint64(w.readings)}, reason)
	}
	l.settle()
	if to < l.next {
		return nil
	}
	from := max(x.first, l.next)
	if from == x.first && to == x.last && !l.done.touches(from, to) && l.win.search(from) == l.win.search(to+1) {
		for _, r := range s.runs {
			if Lane(r.Lane) == lane && r.Count > 0 {
				l.queued.sub(tally{r.Count, r.Bytes, r.Readings})
				o.dropped(lane, r.Last, Gap{From: seqOf(r.First), To: seqOf(r.Last), Messages: r.Count, Readings: r.Readings}, reason)
			}
		}
	} else if err := o.dropReadLocked(s, lane, from, to, reason); err != nil {
		return err
	}
	l.finishAll(from, to)
	l.next = to + 1
	l.forget()
	return nil
}

// dropReadLocked does it for a part of a segment, which must be read to be counted.
func (o *Outbox) dropReadLocked(s *seg, lane Lane, from, to uint64, reason string) error {
	l := &o.lane[lane]
	var lost []segment.Record // Put is the length of the body
	for at := from; at <= to; {
		block, err := o.readLocked(s, lane, at)
		if err != nil {
			return err
		}
		if len(block) == 0 {
			break
		}
		for _, r := range block {
			if r.Pos >= at && r.Pos <= to && !l.done.has(r.Pos) && !l.win.ahead(r.Pos) {
				r.Put, r.Body = int64(len(r.Body)), nil
				lost = append(lost, r)
			}
		}
		at = block[len(block)-1].Pos + 1
	}
	for _, r := range lost {
		l.queued.sub(tally{1, uint64(r.Put), uint64(r.Readings)})
		seq := seqOf(r.Pos)
		o.dropped(lane, r.Pos, Gap{From: seq - min(r.Span, seq-1), To: seq, Messages: 1, Readings: uint64(r.Readings)}, reason)
	}
	return nil
}

// dropped declares and counts.
func (o *Outbox) dropped(lane Lane, place uint64, g Gap, reason string) {
	g.Lane, g.Reason, g.Epoch = lane, reason, o.epochs[runOf(place)]
	o.stats.Dropped[lane] += g.Messages
	o.lossLocked(place, g)
}
