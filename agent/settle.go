package agent

import (
	"context"
	"time"

	"iotagent/iothub"
	"iotagent/outbox"
)

// ackMost is how many acknowledgements the outbox is told of at once.
const ackMost = 256

// settler is the goroutine that takes the outcomes in the order of the sends and tells the outbox.
type settler struct {
	*session
	acks []outbox.ID
}

// run returns when inFlight is closed and empty; each Wait ends at the latest with the connection.
func (s *settler) run(ctx context.Context) {
	for p := range s.inFlight {
		waited := false
		select {
		case <-p.receipt.Done():
		default:
			s.flush() // the rest is not to wait for the hub
			waited = true
		}
		o := p.receipt.Wait(ctx)
		s.outcome(&p, o, waited)
		if len(s.acks) >= ackMost || len(s.inFlight) == 0 {
			s.flush()
		}
	}
	s.flush()
}

// flush tells the outbox what the hub accepted.
func (s *settler) flush() {
	if len(s.acks) == 0 {
		return
	}
	if err := s.queue.Ack(s.acks...); err != nil {
		s.log.Error("acknowledgements not written; the messages may be sent twice", "messages", len(s.acks), "first", s.acks[0].String(), "error", err)
	}
	s.up.given(s.acks)
	n := uint64(len(s.acks))
	s.acks = s.acks[:0]
	s.set(func(st *LinkStatus) { st.Sent += n })
	s.step()
}

// step tells who waits for the outbox to be empty that something moved.
func (s *session) step() {
	select {
	case s.progress <- struct{}{}:
	default:
	}
}

// outcome does with each fate of a parcel what ARCHITECTURE.md says (life of a reading, 6).
func (s *settler) outcome(p *parcel, o iothub.Outcome, waited bool) {
	now := time.Now()
	defer s.up.settled(now, p, o.State, waited) // last, so that nothing slips out before a pause
	switch o.State {
	case iothub.Accepted:
		s.worked.Store(true)
		for _, it := range p.items {
			s.metered.add(int(it.size))
			s.acks = append(s.acks, it.id)
		}
		return
	case iothub.Rejected:
		s.rejected(now, p, o.Err)
	case iothub.Released, iothub.Modified:
		s.slowDown(now, p, iothub.ClassNetwork)
		s.again(p)
	case iothub.Unknown:
		s.again(p)
	}
	s.step()
}

func (s *settler) rejected(now time.Time, p *parcel, err *iothub.Error) {
	class := iothub.ClassUnknown
	if err != nil {
		class = err.Class
	}
	if class != iothub.ClassMessage && class != iothub.ClassUnknown { // the hub's trouble, not the message's: kept, and the link slows down
		s.slowDown(now, p, class)
		s.again(p)
		return
	}
	if len(p.items) > 1 { // one of them is at fault
		s.up.split(p)
		s.again(p)
		return
	}
	id := p.items[0].id
	f := s.up.fault(now, id, class == iothub.ClassUnknown)
	if f.suspicious {
		s.slowDown(now, p, iothub.ClassUnknown)
	}
	if f.fatal {
		s.bury(id, reason(err))
		return
	}
	s.log.Warn("message refused; it is tried again", "id", id.String(), "reason", reason(err), "tries", f.tries)
	s.set(func(st *LinkStatus) { st.Resent++ })
}

func reason(err *iothub.Error) string {
	if err == nil {
		return "rejected by the hub without a reason"
	}
	return err.Error()
}

// again has all messages of a parcel sent again.
func (s *session) again(p *parcel) {
	s.releaseItems(p.items)
	n := uint64(len(p.items))
	s.set(func(st *LinkStatus) { st.Resent += n })
}

func (s *session) releaseItems(items []item) {
	ids := make([]outbox.ID, len(items))
	for i := range items {
		ids[i] = items[i].id
	}
	s.release(ids)
}

func (s *session) release(ids []outbox.ID) {
	if len(ids) > 0 {
		s.queue.Release(ids...)
		s.up.given(ids)
	}
}

// bury moves a message that the hub will never take to the dead letters.
func (s *session) bury(id outbox.ID, why string) {
	s.log.Error("message put to the dead letters", "id", id.String(), "reason", why)
	err := s.queue.Reject(id, why)
	if err != nil {
		s.log.Error("dead letter not written", "id", id.String(), "error", err)
		s.queue.Release(id)
	}
	s.up.given([]outbox.ID{id})
	if err == nil {
		s.up.buried(id)
		s.set(func(st *LinkStatus) { st.Dead++ })
	}
}

// slowDown pauses the sender after the hub gave a parcel back.
func (s *session) slowDown(now time.Time, p *parcel, class iothub.Class) {
	until, fresh := s.up.slowDown(now, p, class)
	if !fresh {
		return
	}
	if class != iothub.ClassNetwork {
		s.log.Warn("the hub wants fewer messages", "class", string(class), "pause", until.Sub(now).Round(time.Millisecond).String())
	}
}
