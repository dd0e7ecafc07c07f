package outbox

import (
	"slices"
	"sort"
)

type slotState uint8

const (
	waiting  slotState = iota // never handed out
	flying                    // handed out
	released                  // to be handed out again
	done                      // acknowledged, refused or dropped; forgotten when all before it are too
)

// slot is an entry that was handed out and is not forgotten yet.
type slot struct {
	place    uint64
	size     uint32
	readings uint32
	state    slotState
	onDisk   bool
	st       *staged // its body, while it is in memory only
}

// window holds the slots of a lane in the order of their places: a slice whose front moves.
type window struct {
	slots []slot
	front int
	idle  int // slots that are done
}

func (w *window) len() int       { return len(w.slots) - w.front }
func (w *window) at(i int) *slot { return &w.slots[w.front+i] }

// push adds a slot, mostly behind all others: what was handed out before the disk could be read, or before a backlog, stands behind it.
func (w *window) push(s slot) {
	if w.front > 1024 && w.front > len(w.slots)/2 {
		w.slots = append(w.slots[:0], w.slots[w.front:]...)
		w.front = 0
	}
	if n := w.len(); n > 0 && w.at(n-1).place > s.place {
		w.slots = slices.Insert(w.slots, w.front+w.search(s.place), s)
		return
	}
	w.slots = append(w.slots, s)
}

// finish makes a slot a done one, to be forgotten by settle or compact.
func (w *window) finish(s *slot) {
	if s.state != done {
		s.state = done
		w.idle++
	}
}

// compact forgets all that is done.
func (w *window) compact() {
	w.slots = slices.DeleteFunc(w.slots[w.front:], func(s slot) bool { return s.state == done })
	w.front, w.idle = 0, 0
}

func (w *window) pop() {
	w.slots[w.front] = slot{}
	w.front++
	w.idle--
	if w.front == len(w.slots) {
		w.slots, w.front = w.slots[:0], 0
	}
}

// search returns the index of the first slot at or after a place.
func (w *window) search(place uint64) int {
	if n := w.len(); n > 0 { // what is settled is mostly the oldest
		first := w.at(0).place
		if place <= first {
			return 0
		}
		if d := place - first; d < uint64(n) && w.at(int(d)).place == place {
			return int(d)
		}
	}
	return sort.Search(w.len(), func(i int) bool { return w.at(i).place >= place })
}

func (w *window) find(place uint64) *slot {
	if i := w.search(place); i < w.len() && w.at(i).place == place {
		return w.at(i)
	}
	return nil
}

// ahead says that an entry was handed out before those in front of it: before the disk could be read, or before the backlog.
func (w *window) ahead(place uint64) bool {
	n := w.len()
	return n > 0 && w.at(n-1).place >= place && w.find(place) != nil
}

// settle forgets what is done at the front.
func (w *window) settle() {
	for w.len() > 0 && w.at(0).state == done {
		w.pop()
	}
}
