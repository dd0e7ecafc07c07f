package amqpd

import (
	"encoding/binary"
	"slices"
)

const (
	maxTag        = 32       // bytes of a delivery tag (part 2, 2.8.7)
	frameOverhead = 96       // more than any TRANSFER needs without its payload
	maxOutFrame   = 64 << 10 // no larger frames even if the peer takes them
)

// Outgoing is a message sent to the client.
type Outgoing struct {
	Tag   []byte
	Value any // from SendOptions

	link    *Link
	id      uint32
	format  uint32
	settled bool   // sent settled
	state   State  // what the client said last; guarded by Conn.mu
	rest    []byte // not written yet
	begun   bool   // the first frame is written
}

// Link returns the link on which the message went.
func (o *Outgoing) Link() *Link { return o.link }

// Settle ends an unsettled delivery from our side and tells the client. A
// state of kind None repeats what the client said last. Calls for a settled
// delivery do nothing.
func (o *Outgoing) Settle(st State) {
	s := o.link.s
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.outgoing[o.id] != o || s.c.closeSent {
		return
	}
	delete(s.outgoing, o.id)
	if st.Kind == None {
		st = o.state
	}
	s.send(&dispositionFrame{first: o.id, settled: true, state: st})
}

// Credit returns how many messages may be sent to the client now. It is zero
// while the connection's outbound buffer is full; Handler.Credit is called
// when it has room again.
func (l *Link) Credit() int {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	return int(min(l.usableCredit(), 1<<30))
}

// usableCredit is the peer's credit, or zero if the buffer is full. mu is held.
func (l *Link) usableCredit() uint32 {
	c := l.s.c
	if l.Role != ClientReceives || l.state != linkAttached || l.credit == 0 || c.closeSent {
		return 0
	}
	if c.outbound() > softLimit {
		c.starved = true
		return 0
	}
	return l.credit
}

// Send sends an encoded message to a client that receives, using one credit.
// The payload is the link's from then on and must not be changed. It is cut
// into frames as the peer needs and waits in memory while the session's
// window is closed. The error is ErrNoCredit, ErrDetached, or an *Error with
// amqp:link:message-size-exceeded or amqp:invalid-field; the message is then not sent.
func (l *Link) Send(payload []byte, opts *SendOptions) (*Outgoing, error) {
	var so SendOptions
	if opts != nil {
		so = *opts
	}
	s := l.s
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	switch {
	case l.state == linkDetachSent || l.state == linkGone || s.c.closeSent || s.c.ended:
		return nil, ErrDetached
	case l.usableCredit() == 0:
		return nil, ErrNoCredit
	case len(so.Tag) > maxTag:
		return nil, errf(CondInvalidField, "delivery tag of %d bytes, at most %d are allowed", len(so.Tag), maxTag)
	case l.MaxMessageSize > 0 && uint64(len(payload)) > l.MaxMessageSize:
		return nil, errf(CondMessageSizeExceeded, "message of %d bytes, the peer takes at most %d", len(payload), l.MaxMessageSize)
	}
	o := &Outgoing{Tag: so.Tag, Value: so.Value, link: l, id: s.nextDeliveryID, format: so.Format, rest: payload}
	if o.Tag == nil {
		o.Tag = binary.BigEndian.AppendUint32(nil, l.nextTag)
		l.nextTag++
	}
	o.settled = l.SndSettleMode == SndSettled || l.SndSettleMode == SndMixed && so.Settled
	s.nextDeliveryID++
	l.deliveryCount++
	l.credit--
	l.queued++
	if !o.settled {
		s.outgoing[o.id] = o
	}
	s.pending = append(s.pending, o)
	s.c.pendingBytes += len(payload)
	s.pump()
	return o, nil
}

// pump writes what the peer's window has room for. mu is held.
func (s *Session) pump() {
	for len(s.pending) > 0 && s.remoteWindow > 0 {
		o := s.pending[0]
		s.transfer(o)
		if len(o.rest) > 0 {
			continue
		}
		s.pending[0] = nil
		s.pending = s.pending[1:]
		if o.link.queued--; o.link.queued == 0 && o.link.drainDue {
			o.link.finishDrain()
		}
	}
}

// transfer writes the next frame of a delivery.
func (s *Session) transfer(o *Outgoing) {
	room := int(min(s.c.remote.MaxFrameSize, maxOutFrame)) - frameOverhead
	n := min(len(o.rest), room)
	f := &transferFrame{handle: o.link.handle, settled: o.settled, more: n < len(o.rest)}
	if !o.begun {
		f.deliveryID, f.tag, f.format = some(o.id), o.Tag, some(o.format)
		o.begun = true
	}
	s.c.w.frame(frameTypeAMQP, s.channel, f, o.rest[:n])
	o.rest = o.rest[n:]
	s.c.pendingBytes -= n
	s.nextOutgoingID++
	s.remoteWindow--
}

// unqueue drops what waits for the session's window. mu is held.
func (s *Session) unqueue(l *Link) {
	if l.queued == 0 {
		return
	}
	l.queued = 0
	s.pending = slices.DeleteFunc(s.pending, func(o *Outgoing) bool {
		if o.link == l {
			s.c.pendingBytes -= len(o.rest)
		}
		return o.link == l
	})
}

// peerDisposes takes a DISPOSITION (part 2, 2.6.12). Deliveries that are not
// known, because they are settled or their link is gone, do not matter.
func (s *Session) peerDisposes(f *dispositionFrame) {
	last := f.first
	if f.last.given {
		last = f.last.n
	}
	if serialLess(last, f.first) {
		s.end(errf(CondInvalidField, "disposition from %d to %d", f.first, last))
		return
	}
	if !f.receiver {
		if f.settled {
			for _, id := range idsIn(s.incoming, f.first, last) {
				s.incoming[id].done = true
				delete(s.incoming, id)
			}
		}
		return
	}
	for _, id := range idsIn(s.outgoing, f.first, last) {
		s.outgoing[id].disposed(f.state, f.settled)
	}
}

// disposed tells the handler what the client thinks of a message. mu is held.
func (o *Outgoing) disposed(st State, settled bool) {
	c := o.link.s.c
	if settled {
		delete(o.link.s.outgoing, o.id)
		if st.Kind == None {
			st = o.state // said before, in an unsettled disposition
		}
	} else if !st.Terminal() || st.Kind == o.state.Kind {
		return
	}
	o.state = st
	c.post(func() { c.cfg.Handler.Disposition(o.link, o, st, settled) })
}

// idsIn returns the keys from first to last in serial order, in time bounded by
// the size of the map, however wide the range is.
func idsIn[V any](m map[uint32]V, first, last uint32) []uint32 {
	var ids []uint32
	if width := last - first; uint64(width) < uint64(len(m)) {
		for i := range width + 1 {
			if _, ok := m[first+i]; ok {
				ids = append(ids, first+i)
			}
		}
		return ids
	}
	for id := range m {
		if id-first <= last-first {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b uint32) int {
		if serialLess(a, b) {
			return -1
		}
		return 1
	})
	return ids
}
