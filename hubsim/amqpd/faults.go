package amqpd

import "errors"

// ErrNoAnswer is returned by Handler.Attach to leave the peer's ATTACH without an answer, as a server does that has lost the link without knowing it.
// All that the peer says of such a link is thrown away.
var ErrNoAnswer = errors.New("attach is not answered")

// Deafen makes the server lose the link without a word: what the peer sends on it is thrown away, its DETACH included, and nothing is sent on it any
// more. To the handler the link has ended. Other links of the session are not concerned.
func (l *Link) Deafen() {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	if l.state == linkAttached {
		l.deafen()
	}
}

// deafen is Deafen with mu held.
func (l *Link) deafen() {
	l.state = linkDetachSent // but for the peer, who waits for it
	l.deaf = true
	l.release(ErrNoAnswer)
}

// reattached lets go of a deaf link whose handle the peer uses again, as it may after a DETACH of its own. mu is held.
func (s *Session) reattached(handle uint32) {
	if l := s.links[handle]; l != nil && l.deaf {
		s.forget(l)
	}
}

// Suspend detaches the link with err, which may be nil, but says that it does not close it (part 2, 2.6.4). Nothing is resumed here all the same.
func (l *Link) Suspend(err *Error) {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	l.detachAs(false, err)
}

// SettleAnyway is Settle also when the link is gone meanwhile: the settlement then comes after the DETACH.
func (d *Incoming) SettleAnyway(st State) {
	s := d.link.s
	s.c.mu.Lock()
	gone := !d.done && s.incoming[d.id] != d && d.link.state != linkAttached && !d.link.deaf &&
		!s.endSent && !s.c.closeSent && s.c.sessions[s.channel] == s
	if gone {
		d.done = true
		s.send(&dispositionFrame{receiver: true, first: d.id, settled: true, state: st})
	}
	s.c.mu.Unlock()
	if !gone {
		d.Settle(st)
	}
}

// MuteEcho makes the server leave every FLOW that asks for an echo unanswered, or answer them again. Drains are answered all the same.
func (c *Conn) MuteEcho(mute bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.muteEcho = mute
}
