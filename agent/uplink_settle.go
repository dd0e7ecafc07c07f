package agent

import (
	"time"

	"iotagent/iothub"
	"iotagent/outbox"
)

// suspiciousRow is how many messages in a row, refused each for itself, make it likely that the hub is at fault and not they.
const suspiciousRow = 16

// settled counts a parcel's outcome. waited says that the outcome came just now.
func (u *uplink) settled(now time.Time, p *parcel, state iothub.State, waited bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := uint64(len(p.items))
	slow := waited && state != iothub.Unknown && u.flight.settled(p.sent, now)
	switch state {
	case iothub.Accepted:
		if !slow {
			u.flight.grow(p.bytes)
		}
		u.rate.count(now, len(p.items))
		u.pace.accepted(now)
		u.doubts.row = 0
		for i := range p.items {
			u.doubts.settled(p.items[i].id)
		}
		u.st.Accepted += n
	case iothub.Rejected:
		u.st.Refused += n
	case iothub.Released, iothub.Modified:
		u.st.Returned += n
	case iothub.Unknown:
		u.st.Lost += n
	}
	u.leave(p)
}

// split has the messages of a refused batch sent again in halves.
func (u *uplink) split(p *parcel) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.doubts.split(p.items)
	u.st.SplitBatches++
}

// verdict is what becomes of a message that was refused for itself.
type verdict struct {
	tries int
	// fatal: it belongs to the dead letters. Otherwise it waits for its next try.
	fatal bool
	// suspicious: so many were refused that the hub may be at fault.
	suspicious bool
}

// fault judges a message that was refused for itself, for a reason that is known (and final) or not.
func (u *uplink) fault(now time.Time, id outbox.ID, unknown bool) verdict {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.doubts.row++
	v := verdict{fatal: !unknown, suspicious: u.doubts.row > suspiciousRow}
	if v.suspicious { // a few probes must do
		u.flight.shrink(now, leastShare)
	}
	if unknown {
		v.tries = u.doubts.tried(id)
		v.fatal = v.tries >= maxTries
	}
	if !v.fatal {
		u.doubts.later(id, now, v.tries)
		u.kick()
	}
	return v
}

// buried forgets a dead message.
func (u *uplink) buried(id outbox.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.doubts.settled(id)
	u.st.Dead++
}

// slowDown begins a pause, and halves the rate where the hub wants fewer messages. What was sent before the last pause began says nothing new.
func (u *uplink) slowDown(now time.Time, p *parcel, class iothub.Class) (until time.Time, fresh bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	until, fresh = u.pace.refused(now, p.sent, class, p.alarm)
	if fresh && class == iothub.ClassThrottled {
		u.rate.cut(now, until)
	}
	return until, fresh
}
