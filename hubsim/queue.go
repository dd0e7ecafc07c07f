package hubsim

import (
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/Azure/go-amqp"
)

// The ways a message leaves a queue, as feedback records name them.
const (
	statusSuccess   = "Success"
	statusExpired   = "Expired"
	statusExceeded  = "DeliveryCountExceeded"
	statusRejected  = "Rejected"
	statusPurged    = "Purged"
	outcomeReleased = "released" // not an end: back to the queue, one delivery more
)

// token names one delivery of one message: a new one for each, so that a late settlement finds nothing.
type token [16]byte

// item is one message in a queue.
type item struct {
	seq        uint64
	msg        *amqp.Message
	enqueued   time.Time
	expires    time.Time
	deliveries int // how often it came back
	locked     bool
	token      token
	lockTimer  *time.Timer
	lifeTimer  *time.Timer
	ack        string // what its sender wants to hear of: iothub-ack
}

// queue holds messages until a receiver settles them, with the life cycle of "Understand cloud-to-device messaging from an IoT hub":
// enqueued, invisible under a lock while delivered, then completed, dead-lettered or enqueued again. Feedback messages live in one too.
// Every method is called with mu held; its timers take it.
type queue struct {
	mu            sync.Locker
	now           func() time.Time
	lock          time.Duration
	maxDeliveries int
	limit         int
	countLockLoss bool

	ready func()              // something may be deliverable
	ended func(*item, string) // an item has left, with its feedback status

	items []*item // in order of seq
	last  uint64

	// note and flush write down what happens; nil: nobody does.
	note               func(*queueLine)
	flush              func()
	keptAs, generation string // the queue's name there
}

func (q *queue) log(op string, it *item) {
	if q.note != nil {
		q.note(q.line(op, it))
	}
}

func (q *queue) logged() {
	if q.flush != nil {
		q.flush()
	}
}

// push appends a message that lives until expires; false means that the queue is full.
func (q *queue) push(it *item) bool {
	if q.limit > 0 && len(q.items) >= q.limit {
		return false
	}
	q.last++
	it.seq, it.enqueued = q.last, q.now()
	q.items = append(q.items, it)
	q.log("put", it)
	q.logged()
	q.live(it)
	if !it.enqueued.Before(it.expires) {
		q.end(it, statusExpired)
		return true
	}
	q.ready()
	return true
}

// live ends a message when its time is over.
func (q *queue) live(it *item) {
	it.lifeTimer = time.AfterFunc(it.expires.Sub(q.now()), func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.expire(it)
	})
}

// resume goes on with messages of an earlier life.
func (q *queue) resume() {
	for _, it := range q.items {
		q.live(it)
	}
}

// take locks the first deliverable message and returns it, or nil.
func (q *queue) take() *item {
	for _, it := range q.items {
		if it.locked {
			continue
		}
		it.locked = true
		_, _ = rand.Read(it.token[:]) // never fails
		t := it.token
		it.lockTimer = time.AfterFunc(q.lock, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			if q.find(t) == it {
				q.back(it, q.countLockLoss)
			}
		})
		return it
	}
	return nil
}

// settle ends the delivery that t names; false means that its lock was lost.
func (q *queue) settle(t token, outcome string) bool {
	it := q.find(t)
	if it == nil {
		return false
	}
	if outcome == outcomeReleased {
		q.back(it, true)
		return true
	}
	q.end(it, outcome)
	return true
}

// back makes a delivered message visible again, unless its time or its deliveries are used up.
func (q *queue) back(it *item, count bool) {
	it.lockTimer.Stop()
	it.locked, it.token = false, token{}
	if count {
		it.deliveries++
		q.log("back", it)
		q.logged()
	}
	switch {
	case it.deliveries >= q.maxDeliveries:
		q.end(it, statusExceeded)
	case !q.now().Before(it.expires):
		q.end(it, statusExpired)
	default:
		q.ready()
	}
}

// expire ends a message at the end of its life; one that is being delivered has until its lock ends.
func (q *queue) expire(it *item) {
	if !it.locked && slices.Contains(q.items, it) {
		q.end(it, statusExpired)
	}
}

func (q *queue) end(it *item, status string) {
	it.stop()
	q.items = slices.DeleteFunc(q.items, func(o *item) bool { return o == it })
	q.log("end", it)
	q.ended(it, status)
	q.logged()
}

func (q *queue) find(t token) *item {
	i := slices.IndexFunc(q.items, func(it *item) bool { return it.locked && it.token == t })
	if i < 0 {
		return nil
	}
	return q.items[i]
}

// purge ends every message and returns how many there were.
func (q *queue) purge() int {
	all := slices.Clone(q.items)
	for _, it := range all {
		q.end(it, statusPurged)
	}
	return len(all)
}

// close stops every timer and forgets the messages.
func (q *queue) close() {
	for _, it := range q.items {
		it.stop()
	}
	q.items = nil
}

func (it *item) stop() {
	it.lifeTimer.Stop()
	if it.lockTimer != nil {
		it.lockTimer.Stop()
	}
}
