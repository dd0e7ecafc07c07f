package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"iotagent/internal/backoff"
	"iotagent/iothub"
	"iotagent/outbox"
)

const (
	// singles is how many entries are taken from the outbox at once where each goes alone.
	singles = 16
	// inHand is how many parcels may be kept in hand while only alarms are looked for.
	inHand = 8
	// sendPromise is how long one step of the sender may take before the watchdog counts it as stuck: the client gives up earlier.
	sendPromise = 3 * time.Minute
	idleBeat    = 15 * time.Second
)

// sender is the goroutine that hands entries to the hub.
type sender struct {
	*session
	// hand holds what was taken from the outbox and may not go yet. It is little, so that alarms and what is new never stand behind much.
	hand []parcel
	// paper is that of the messages taken last: free when the hand is empty.
	paper paper
	// trouble spaces the tries while the link is being mended.
	trouble backoff.Backoff
	beaten  time.Time
}

// run sends until ctx is done.
func (s *sender) run(ctx context.Context) {
	defer s.letGo()
	s.pulse.within("link", clockPatience+slack)
	s.time.await(ctx)
	s.trouble = backoff.Backoff{Floor: 50 * time.Millisecond, Cap: 5 * time.Second}
	for ctx.Err() == nil {
		changed := s.queue.Changed()
		p, wait := s.next(time.Now())
		if p == nil {
			s.idle(ctx, changed, wait)
			continue
		}
		err := s.transmit(ctx, p)
		if err == nil {
			s.trouble.Reset()
			continue
		}
		s.log.Debug("send", "error", err) // the connection's or the link's end, which is reported there; it says nothing about this message
		s.hand = append([]parcel{*p}, s.hand...)
		if errors.Is(err, iothub.ErrInterrupted) {
			s.startOver(ctx)
			continue
		}
		s.idle(ctx, nil, s.trouble.Next())
	}
}

// startOver waits, after the loss of the link, until what was in flight on it was given back to the outbox, which hands it out first, in its order.
func (s *sender) startOver(ctx context.Context) {
	s.letGo()
	for ctx.Err() == nil && !s.up.landed() {
		s.idle(ctx, nil, idleBeat)
	}
	s.c.Resume()
}

// next returns what to send now. When that is nothing, it says how long to wait at most.
func (s *sender) next(now time.Time) (p *parcel, wait time.Duration) {
	ids, wait := s.up.due(now, idleBeat)
	s.release(ids)
	if len(s.hand) == 0 {
		o, blocked := s.up.wanted(now)
		if o.entries > 0 && !s.take(&o) {
			return nil, wait
		}
		wait = sooner(wait, blocked)
	}
	if p, blocked := s.front(now); p != nil {
		return p, 0
	} else if blocked > 0 {
		wait = sooner(wait, blocked)
	}
	// Alarms go all the same, when it is not alarms that must wait. The outbox hands them out first.
	if len(s.hand) < inHand && alarms(s.hand) == 0 && s.up.untaken(s.queue.Stats().Queued[outbox.Alarm]) && s.take(&order{entries: 1, bytes: batchBytes, batch: 1}) {
		p, blocked := s.front(now)
		return p, sooner(wait, blocked)
	}
	return nil, wait
}

// sooner returns the shorter of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if b > 0 && b < a {
		return b
	}
	return a
}

// front takes the first parcel in hand, if it may go.
func (s *sender) front(now time.Time) (*parcel, time.Duration) {
	if len(s.hand) == 0 {
		return nil, 0
	}
	ok, wait := s.up.enter(now, &s.hand[0])
	if !ok {
		return nil, wait
	}
	p := s.hand[0]
	s.hand = s.hand[1:]
	return &p, 0
}

// take takes entries from the outbox into the hand, alarms in front of the others. It is false when there were none.
func (s *sender) take(o *order) bool {
	entries, err := s.queue.Next(o.entries, int(o.bytes))
	if err != nil {
		s.log.Error("outbox not readable", "error", err)
		return false
	}
	if len(entries) == 0 {
		return false
	}
	s.up.taken(entries)
	p := packing{messages: o.batch, bytes: o.portion, groupOf: s.up.groupOf, known: s.clock.Anchors()}
	if len(s.hand) == 0 {
		p.paper = s.paper
	}
	parcels := p.pack(entries, s.bury)
	s.paper = p.paper
	n := alarms(parcels)
	s.hand = append(slices.Insert(s.hand, alarms(s.hand), parcels[:n]...), parcels[n:]...)
	return true
}

// alarms returns how many parcels at the front are alarms.
func alarms(ps []parcel) int {
	n := 0
	for n < len(ps) && ps[n].alarm {
		n++
	}
	return n
}

// transmit puts a parcel in flight. After an error it is not.
func (s *sender) transmit(ctx context.Context, p *parcel) (err error) {
	s.beat(time.Now())
	if len(p.messages) == 1 {
		p.receipt, err = s.c.Send(ctx, p.messages[0])
	} else {
		p.receipt, err = s.c.SendBatch(ctx, p.messages)
	}
	if err != nil {
		s.up.unsent(p)
		return err
	}
	p.messages, p.sent = nil, time.Now()
	s.up.sent(p)
	s.inFlight <- *p
	return nil
}

// beat tells the watchdog that the sender lives.
func (s *sender) beat(now time.Time) {
	if now.Sub(s.beaten) < time.Second {
		return
	}
	s.beaten = now
	s.pulse.within("link", sendPromise)
}

// idle waits for a change, for room, for d or for the end.
func (s *sender) idle(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	s.pulse.within("link", d+slack)
	s.beaten = time.Time{}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-s.up.room:
	case <-t.C:
	}
}

// letGo gives back what was not sent.
func (s *sender) letGo() {
	for i := range s.hand {
		s.releaseItems(s.hand[i].items)
	}
	s.hand = nil
}
