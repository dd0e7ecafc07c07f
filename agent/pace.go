package agent

import (
	"sync"
	"time"

	"iotagent/internal/backoff"
	"iotagent/iothub"
	"iotagent/outbox"
)

// maxTries is how often a message is sent that the hub refuses for a reason nobody knows.
const maxTries = 5

// pace slows the sender down when the hub gives messages back, and remembers the tries of those refused without a known reason.
type pace struct {
	mu     sync.Mutex
	until  time.Time
	series map[iothub.Class]*backoff.Backoff
	tries  map[outbox.ID]int
}

func newPace() *pace {
	return &pace{series: map[iothub.Class]*backoff.Backoff{}, tries: map[outbox.ID]int{}}
}

// pauses are shorter than the waits between connections where the hub only gave messages back without a complaint.
func pauses(class iothub.Class) backoff.Backoff {
	switch class {
	case iothub.ClassNetwork:
		return backoff.Backoff{Floor: 50 * time.Millisecond, Cap: 10 * time.Second}
	case iothub.ClassServer, iothub.ClassUnknown:
		return backoff.Backoff{Floor: time.Second, Cap: time.Minute}
	default:
		return waits(class)
	}
}

// pause begins a pause for an error of that class. A pause under way is not made longer by what was in flight before it (fresh is false then).
func (p *pace) pause(class iothub.Class) (until time.Time, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.until) {
		return p.until, false
	}
	b := p.series[class]
	if b == nil {
		w := pauses(class)
		b = &w
		p.series[class] = b
	}
	p.until = time.Now().Add(b.Next())
	return p.until, true
}

func (p *pace) pausedUntil() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until
}

// accepted says that the hub takes messages again, and forgets the tries of this one.
func (p *pace) accepted(id outbox.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tries, id)
	if !time.Now().Before(p.until) {
		clear(p.series)
	}
}

// tried counts one more refusal and returns how many there were.
func (p *pace) tried(id outbox.ID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries[id]++
	return p.tries[id]
}
