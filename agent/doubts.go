package agent

import (
	"time"

	"iotagent/internal/backoff"
	"iotagent/outbox"
)

const (
	// maxTries is how often a message is sent that the hub refuses for a reason nobody knows.
	maxTries = 5
	// maxDoubts bounds what is remembered. Beyond it all is forgotten, which costs some sends.
	maxDoubts = 10_000
)

// doubts remembers what the hub refused and what might be at fault: which messages of a refused batch to send together next, how often
// one was tried alone, and which ones wait for their next try.
type doubts struct {
	// group says with which others a message of a refused batch is sent again; 0, as for all others, with no one in particular.
	group map[outbox.ID]uint64
	last  uint64
	tries map[outbox.ID]int
	// waiting is kept in the order it came.
	waiting []waitingTry
	// row counts the messages refused one after the other with none accepted in between.
	row int
}

type waitingTry struct {
	id  outbox.ID
	due time.Time
}

func newDoubts() doubts {
	return doubts{group: map[outbox.ID]uint64{}, tries: map[outbox.ID]int{}}
}

// split has the halves of a refused batch sent separately.
func (d *doubts) split(items []item) {
	if len(d.group) > maxDoubts {
		clear(d.group)
	}
	half := (len(items) + 1) / 2
	for i, it := range items {
		if i == 0 || i == half {
			d.last++
		}
		d.group[it.id] = d.last
	}
}

// groupOf returns the group of a message.
func (d *doubts) groupOf(id outbox.ID) uint64 {
	if len(d.group) == 0 {
		return 0
	}
	return d.group[id]
}

// tried counts one more refusal of a message and returns how many there were.
func (d *doubts) tried(id outbox.ID) int {
	if len(d.tries) > maxDoubts {
		clear(d.tries)
	}
	d.tries[id]++
	return d.tries[id]
}

// later has a message wait for its next try: longer each time.
func (d *doubts) later(id outbox.ID, now time.Time, tries int) {
	b := backoff.Backoff{Floor: time.Second << (tries - 1), Cap: time.Minute}
	d.waiting = append(d.waiting, waitingTry{id, now.Add(b.Next())})
}

// due returns what need not wait any longer, and how long the next one does.
func (d *doubts) due(now time.Time, most time.Duration) (ids []outbox.ID, next time.Duration) {
	next = most
	left := d.waiting[:0]
	for _, w := range d.waiting {
		if wait := w.due.Sub(now); wait > 0 {
			next = min(next, wait)
			left = append(left, w)
			continue
		}
		ids = append(ids, w.id)
	}
	d.waiting = left
	return ids, next
}

// settled forgets a message that is done.
func (d *doubts) settled(id outbox.ID) {
	if len(d.group) > 0 {
		delete(d.group, id)
	}
	if len(d.tries) > 0 {
		delete(d.tries, id)
	}
}
