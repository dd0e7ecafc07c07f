package amqpd

// maxPartialBytes bounds what a connection's unfinished deliveries may hold.
const maxPartialBytes = 64 << 20

// Incoming is a message that the client sent.
type Incoming struct {
	Tag     []byte
	Format  uint32
	Settled bool   // sent settled: nothing is to be settled
	Payload []byte // the handler's to keep

	link   *Link
	id     uint32
	second bool // the client settles last
	done   bool // Settle was called; guarded by Conn.mu
}

// Link returns the link on which the message came.
func (d *Incoming) Link() *Link { return d.link }

// Settle tells the client the outcome. Later calls, and calls after the link
// is gone or for a message that came settled, do nothing.
func (d *Incoming) Settle(st State) {
	s := d.link.s
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if d.done || s.incoming[d.id] != d || s.c.closeSent {
		return
	}
	d.done = true
	if !d.second {
		delete(s.incoming, d.id)
	}
	s.send(&dispositionFrame{receiver: true, first: d.id, settled: !d.second, state: st})
}

// peerTransfers takes a TRANSFER (part 2, 2.6.12 and 2.6.14).
func (s *Session) peerTransfers(f *transferFrame, payload []byte) {
	if !serialLess(s.nextIncomingID, s.furthest) {
		s.end(errf(CondWindowViolation, "transfer outside of the incoming window"))
		return
	}
	s.nextIncomingID++
	if s.window > 0 && s.windowEnd-s.nextIncomingID <= s.window/2 {
		s.renewWindow()
		s.send(s.flow())
	}
	l := s.links[f.handle]
	switch {
	case l == nil:
		s.end(errf(CondUnattachedHandle, "transfer on handle %d, which is not attached", f.handle))
	case l.state != linkAttached: // on its way while we detached
	case l.Role != ClientSends:
		l.detach(errf(CondNotAllowed, "transfer from the receiver of the link"))
	default:
		if err := l.peerTransfers(f, payload); err != nil {
			l.detach(err)
		}
	}
}

// peerTransfers puts the parts of a delivery together. An error detaches the link.
func (l *Link) peerTransfers(f *transferFrame, payload []byte) *Error {
	d := l.partial
	if d == nil {
		var err *Error
		if d, err = l.firstTransfer(f); err != nil {
			return err
		}
	} else if f.deliveryID.given && f.deliveryID.n != d.id {
		return errf(CondInvalidField, "delivery %d starts before delivery %d is complete", f.deliveryID.n, d.id)
	}
	if f.aborted {
		l.s.c.partialBytes -= len(d.Payload)
		l.partial = nil
		return nil
	}
	d.Settled = d.Settled || f.settled
	if size := uint64(len(d.Payload)) + uint64(len(payload)); size > l.s.c.cfg.MaxMessageSize {
		return errf(CondMessageSizeExceeded, "message is larger than %d bytes", l.s.c.cfg.MaxMessageSize)
	}
	d.Payload = append(d.Payload, payload...)
	l.s.c.partialBytes += len(payload)
	if l.s.c.partialBytes > maxPartialBytes {
		return errf(CondResourceLimitExceeded, "too many unfinished messages")
	}
	if f.more {
		return nil
	}
	l.s.c.partialBytes -= len(d.Payload)
	l.partial = nil
	l.deliver(d)
	return nil
}

// firstTransfer begins a delivery, which takes one credit.
func (l *Link) firstTransfer(f *transferFrame) (*Incoming, *Error) {
	if !f.deliveryID.given {
		return nil, errf(CondInvalidField, "transfer without a delivery-id")
	}
	if !serialLess(l.deliveryCount, l.furthest) {
		return nil, errf(CondTransferLimitExceeded, "transfer without credit")
	}
	if l.s.incoming[f.deliveryID.n] != nil {
		return nil, errf(CondInvalidField, "delivery-id %d is in use", f.deliveryID.n)
	}
	d := &Incoming{link: l, id: f.deliveryID.n, Tag: f.tag, Format: f.format.n}
	d.second = l.RcvSettleMode == RcvSecond && (!f.rcvSettleMode.given || f.rcvSettleMode.n == uint32(RcvSecond))
	l.partial = d
	l.advance(1)
	return d, nil
}

// deliver hands a complete message to the handler. mu is held.
func (l *Link) deliver(d *Incoming) {
	if !d.Settled {
		l.s.incoming[d.id] = d
	}
	l.s.c.post(func() { l.s.c.cfg.Handler.Message(l, d) })
}
