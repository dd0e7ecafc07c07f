package outbox

import (
	"slices"
	"time"

	"iotagent/outbox/internal/segment"
)

// lane is one lane's place in the queue. Entries go from staged to the segments, oldest first, so that all that is staged stands behind
// all that is on disk. One cursor runs over both; while there is a backlog beside what is new, two do: the lane's own up to mark, the live
// one from there on.
type lane struct {
	cursor
	live cursor
	mark uint64 // the first place behind the last Mark; 0 without one

	seq     uint64 // the last sequence number given out in this epoch
	flushed uint64 // the last place that is on disk
	staged  stage
	win     window
	back    int // slots that are released
	done    spans
	gaps    []*gapEntry // by place

	queued   tally // messages that are not done, on disk or staged; gaps are not counted
	appended tally // of all segments

	again []segment.Record // what was read last for a second time
}

// staged is a message that is not on disk.
type staged struct {
	lane     Lane
	place    uint64
	put      int64     // wall ms
	due      time.Time // when it must be on disk
	readings uint32
	flags    byte
	body     []byte
	group    *group // what waits for its fsync; nil when nobody does
	flight   bool   // handed out; its slot knows the rest
	gone     bool   // acknowledged, refused or dropped
	written  bool
}

const (
	flagDurable byte = 1 << 0
	flagThinned byte = 1 << 1
)

// stage is a queue whose front moves.
type stage struct {
	list  []*staged
	front int
}

func (s *stage) all() []*staged { return s.list[s.front:] }

func (s *stage) push(x *staged) {
	if s.front > 1024 && s.front > len(s.list)/2 {
		n := copy(s.list, s.list[s.front:])
		clear(s.list[n:])
		s.list, s.front = s.list[:n], 0
	}
	if n := len(s.list); n > 1024 && n == cap(s.list) { // what was acknowledged behind an older one that waits need not be kept
		s.list, s.front = slices.DeleteFunc(s.all(), (*staged).settled), 0
		s.list = slices.Grow(s.list, len(s.list)/2+1)
	}
	s.list = append(s.list, x)
}

// settled says that the stage need not know it any more.
func (s *staged) settled() bool { return s.gone || s.written }

// prune forgets what is written or gone at the front.
func (s *stage) prune() {
	for s.front < len(s.list) && s.list[s.front].settled() {
		s.list[s.front] = nil
		s.front++
	}
	if s.front == len(s.list) {
		s.list, s.front = s.list[:0], 0
	}
}

// from returns what is staged at or behind a place.
func (s *stage) from(place uint64) []*staged {
	all := s.all()
	lo, hi := 0, len(all)
	for lo < hi {
		if mid := (lo + hi) / 2; all[mid].place < place {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return all[lo:]
}

// head is the place before which all is done.
func (l *lane) head() uint64 {
	if l.win.len() > 0 {
		return min(l.win.at(0).place, l.next)
	}
	return l.next
}

// settled returns what is done behind the head, as far as it matters to the disk.
func (l *lane) settled() spans {
	out := spans(nil)
	for _, x := range l.done.before(l.head()) {
		out = out.add(x)
	}
	for i := range l.win.len() {
		if s := l.win.at(i); s.state == done && s.onDisk {
			out = out.add(span{s.place, s.place})
		}
	}
	return out
}

// removed is how much of what the segments hold is done.
func (l *lane) removed() tally {
	t := l.appended
	live := l.queued
	for _, s := range l.staged.all() {
		if !s.gone && !s.written {
			live.sub(tally{1, uint64(len(s.body)), uint64(s.readings)})
		}
	}
	t.sub(live)
	return t
}

// settle forgets what is done in the window, and notes it as done ranges once it is more than the rest: a live message may be long done
// before the backlog in front of it is.
func (l *lane) settle() {
	l.win.settle()
	if l.mark == 0 || l.win.idle <= 256 || l.win.idle <= l.win.len()/2 {
		return
	}
	for i := range l.win.len() {
		if s := l.win.at(i); s.state == done {
			l.done = l.done.add(span{s.place, s.place})
		}
	}
	l.win.compact()
}

// forget drops what was read from the disk: a segment changed.
func (l *lane) forget() {
	l.cursor.forget()
	l.live.forget()
	l.again = nil
}
