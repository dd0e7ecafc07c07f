package hubsim

import (
	"iotagent/hubsim/amqpd"
)

// Deafness is which links a hub loses without knowing it.
type Deafness uint8

// The kinds of deafness.
const (
	Hearing Deafness = iota // links to come are heard again; those that are deaf stay so until they are attached anew
	DeafNow                 // the links of the moment
	Deaf                    // the links of the moment, and those to come do not even get an answer to their ATTACH
)

// SetDeaf makes the hub lose the links to an address, or with "" every link but those to $cbs, without a word: what the client sends on them is thrown
// away and nothing is sent, while the session, the connection and its other links live on. It returns how many links it concerned at once.
func (s *Server) SetDeaf(address string, how Deafness) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.placeOf(address)
	delete(s.faults.deaf, at)
	if address == "" && how == Hearing {
		s.faults.deaf = nil
	}
	if how == Hearing {
		return 0
	}
	if how == Deaf {
		if s.faults.deaf == nil {
			s.faults.deaf = map[faultPlace]bool{}
		}
		s.faults.deaf[at] = true
	}
	return s.eachAtLocked(address, func(l *link) { l.wire.Deafen() })
}

// deafLocked reports whether an ATTACH gets no answer.
func (s *Server) deafLocked(wire *amqpd.Link) bool {
	at := s.placeOf(wire.Address())
	return s.faults.deaf[at] || s.faults.deaf[faultPlace{}] && at.node != nodeCBS
}

// eachAtLocked forgets every link to an address, or every link but those to $cbs when it is "", then ends it with f. It returns how many there were.
func (s *Server) eachAtLocked(address string, f func(*link)) int {
	want := parseAddress(address, s.entity())
	n := 0
	for c := range s.conns {
		for l := range c.links {
			if l.addr == want || (address == "" && l.addr.node != nodeCBS) {
				s.forgetLocked(l)
				f(l)
				n++
			}
		}
	}
	s.noteLocked()
	return n
}

// SuspendLinks is DetachLinks by a DETACH that does not close the link.
func (s *Server) SuspendLinks(address, condition, description string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eachAtLocked(address, func(l *link) { l.wire.Suspend(wireError(condition, description)) })
}

// EndSessions ends every session that has other links than those to $cbs, with a condition or, when that is "", without. It returns how many there were.
func (s *Server) EndSessions(condition, description string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := map[*amqpd.Session]bool{}
	for c := range s.conns {
		for l := range c.links {
			if l.addr.node != nodeCBS {
				ended[l.wire.Session()] = true
			}
		}
		for l := range c.links {
			if ended[l.wire.Session()] {
				s.forgetLocked(l)
			}
		}
	}
	for session := range ended {
		session.End(wireError(condition, description))
	}
	s.noteLocked()
	return len(ended)
}

// SetMuteEcho makes the hub leave every FLOW that asks for an echo unanswered, on all links of all connections, or answer them again.
func (s *Server) SetMuteEcho(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.muteEcho = mute
	for c := range s.conns {
		c.wire.MuteEcho(mute)
	}
}

// SetSettleLate makes settlements go out also when the link of their message is gone meanwhile, as a hub in a hurry does; clients that are strict end
// their session over that. It needs settlements that wait: see AckRule.
func (s *Server) SetSettleLate(late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.settleLate = late
}

// settle is d.Settle, also after the end of d's link when SetSettleLate says so.
func (s *Server) settle(d *amqpd.Incoming, state amqpd.State) {
	s.mu.Lock()
	late := s.faults.settleLate
	s.mu.Unlock()
	if late {
		d.SettleAnyway(state)
		return
	}
	d.Settle(state)
}
