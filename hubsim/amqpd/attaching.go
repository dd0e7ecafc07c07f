package amqpd

import "errors"

// peerAttaches takes an ATTACH (part 2, 2.6.3). An error ends the connection.
func (s *Session) peerAttaches(f *attachFrame) error {
	if f.handle > s.c.cfg.HandleMax {
		return errf(CondFramingError, "handle %d is above the maximum of %d", f.handle, s.c.cfg.HandleMax)
	}
	s.reattached(f.handle)
	if s.links[f.handle] != nil {
		s.end(errf(CondHandleInUse, "handle %d is in use", f.handle))
		return nil
	}
	if s.c.links >= 2*s.c.cfg.MaxLinks { // refusals that the peer does not answer count too
		return errf(CondResourceLimitExceeded, "the connection has %d links", s.c.links)
	}
	refusal := s.judgeAttach(f)
	l := s.newLink(f)
	if l.handle > s.remoteHandles {
		s.end(errf(CondResourceLimitExceeded, "no handle is free"))
		return nil
	}
	if refusal != nil {
		l.refuse(refusal)
		return nil
	}
	s.c.post(func() {
		err := s.c.cfg.Handler.Attach(l)
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		l.decided(err)
	})
	return nil
}

// judgeAttach finds what is wrong with an ATTACH without asking the handler.
func (s *Session) judgeAttach(f *attachFrame) *Error {
	for _, l := range s.links {
		if l.Name == f.name && l.Role == f.role() && (l.state == linkAttaching || l.state == linkAttached) {
			return errf(CondResourceLocked, "a link with name '%s' is already attached in session %d", f.name, s.channel)
		}
	}
	switch {
	case s.c.links >= s.c.cfg.MaxLinks:
		return errf(CondResourceLimitExceeded, "the connection has %d links", s.c.links)
	case f.coordinator:
		return errf(CondNotImplemented, "transactions are not supported")
	case f.snd > SndMixed || f.rcv > RcvSecond:
		return errf(CondInvalidField, "settle modes %d and %d", f.snd, f.rcv)
	}
	return nil
}

// role is the part that the client plays.
func (f *attachFrame) role() Role {
	if f.receiver {
		return ClientReceives
	}
	return ClientSends
}

// newLink enters a link into the session, in the state linkAttaching.
func (s *Session) newLink(f *attachFrame) *Link {
	l := &Link{
		Name: f.name, Role: f.role(), Source: f.source, Target: f.target, Properties: f.properties,
		SndSettleMode: f.snd, RcvSettleMode: f.rcv, MaxMessageSize: f.maxMessageSize,
		OfferedCapabilities: f.offered, DesiredCapabilities: f.desired,
		s: s, peerHandle: f.handle, handle: s.handles.take(),
	}
	if l.Role == ClientSends {
		l.deliveryCount = f.initialDeliveryCount.n
	} else {
		l.deliveryCount = s.c.cfg.FirstID
	}
	l.furthest = l.deliveryCount
	s.links[f.handle] = l
	s.used = max(s.used, uint64(f.handle)+1)
	s.c.links++
	return l
}

// decided answers the peer with what the handler said. mu is held.
func (l *Link) decided(err error) {
	switch {
	case l.state != linkAttaching: // the session ended meanwhile
		if err == nil {
			l.s.c.post(func() { l.s.c.cfg.Handler.Detached(l, nil) })
		}
	case errors.Is(err, ErrNoAnswer):
		l.deafen()
	case err != nil:
		l.refuse(AsError(err))
	default:
		l.state, l.announced = linkAttached, true
		l.sendAttach()
		if l.toDetach {
			l.detach(l.detachErr)
		} else if l.window > 0 {
			l.grant()
		}
	}
}

// sendAttach accepts the link. Our own terminus must not be null, or the peer
// would take it for a refusal.
func (l *Link) sendAttach() {
	f := l.attachFrame()
	f.source, f.target = l.Source, l.Target
	if l.Role == ClientSends && f.target == nil {
		f.target = &Terminus{}
	}
	if l.Role == ClientReceives && f.source == nil {
		f.source = &Terminus{}
	}
	l.s.send(f)
}

func (l *Link) attachFrame() *attachFrame {
	f := &attachFrame{
		name: l.Name, handle: l.handle, receiver: l.Role == ClientSends,
		snd: l.SndSettleMode, rcv: l.RcvSettleMode,
		maxMessageSize: l.s.c.cfg.MaxMessageSize, properties: l.ReplyProperties,
	}
	if l.Role == ClientReceives {
		f.initialDeliveryCount = some(l.deliveryCount)
	}
	return f
}

// refuse answers with an ATTACH without termini and a DETACH (part 2, 2.6.3). mu is held.
func (l *Link) refuse(err *Error) {
	l.SndSettleMode, l.RcvSettleMode = min(l.SndSettleMode, SndMixed), min(l.RcvSettleMode, RcvSecond)
	l.s.send(l.attachFrame())
	l.s.send(&detachFrame{handle: l.handle, closed: true, err: err})
	l.state = linkDetachSent
}

// peerDetaches takes a DETACH (part 2, 2.6.4 to 2.6.6).
func (s *Session) peerDetaches(f *detachFrame) {
	l := s.links[f.handle]
	if l == nil {
		s.end(errf(CondUnattachedHandle, "detach of handle %d, which is not attached", f.handle))
		return
	}
	if l.state == linkAttached {
		// A link that is only suspended is not kept either: nothing is resumed here.
		s.send(&detachFrame{handle: l.handle, closed: f.closed})
		if f.err != nil {
			l.release(f.err)
		} else {
			l.release(nil)
		}
	}
	s.forget(l)
}
