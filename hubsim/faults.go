package hubsim

import (
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"slices"
	"time"

	"iotagent/hubsim/amqpd"
)

var errRefused = errors.New("hub refuses connections")

// Outcome is what a fault makes of a telemetry message.
type Outcome uint8

// The outcomes; the zero value is the ordinary course.
const (
	Store   Outcome = iota // stored and accepted
	Lose                   // stored, but its acknowledgement never comes
	Release                // not stored, released
	Reject                 // not stored, rejected with the verdict's condition
	Modify                 // not stored, modified
)

// Verdict says what becomes of one telemetry delivery. The zero value is the ordinary course.
type Verdict struct {
	Outcome Outcome
	// Condition and Description go with Reject; without a condition the rejection has no error.
	Condition, Description string
	// Delay is how long the settlement waits; the message is stored, or not, at once.
	Delay time.Duration
}

// refuses reports whether the messages are not stored.
func (v Verdict) refuses() bool {
	return v.Outcome == Release || v.Outcome == Reject || v.Outcome == Modify
}

func (v Verdict) state() amqpd.State {
	switch v.Outcome {
	case Release:
		return amqpd.State{Kind: amqpd.Released}
	case Modify:
		return amqpd.State{Kind: amqpd.Modified, DeliveryFailed: true}
	case Reject:
		if v.Condition != "" {
			return rejected(v.Condition, v.Description)
		}
		return amqpd.State{Kind: amqpd.Rejected}
	case Store, Lose:
	}
	return amqpd.State{Kind: amqpd.Accepted}
}

// TokenVerdict says what becomes of one put-token request. The zero value is the ordinary course.
type TokenVerdict struct {
	// Status and Text are the reply; 0 judges the token.
	Status int32
	Text   string
	// Swallow accepts the request and never replies.
	Swallow bool
}

// faults are what the fault methods have set. Guarded by the Server's mutex.
type faults struct {
	telemetry       func(device string, nth int) Verdict
	telemetrySeen   int
	messages        func(device string, ids []string) Verdict
	token           func(nth int) TokenVerdict
	tokenSeen       int
	attach          map[faultPlace]attachFault // taken once
	deaf            map[faultPlace]bool
	telemetryCredit uint32
	refuse          bool

	rules       []ackRule
	throttle    *throttle
	open        *amqpd.Error // for the next connection; taken once
	window      int64        // of sessions; negative: the default
	settlements int          // of commands, still to be lost
	omitID      bool
	idleMin     time.Duration
	muteEcho    bool
	settleLate  bool
}

// attachFault is what becomes of a link: refused or, with after, attached first and then detached.
type attachFault struct {
	err   *amqpd.Error
	after bool
}

// OnTelemetry lets f decide about every telemetry delivery from now on; nth counts from 1. A batch is one delivery. Nil ends it.
// It must not call the Server.
func (s *Server) OnTelemetry(f func(device string, nth int) Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.telemetry, s.faults.telemetrySeen = f, 0
}

// OnToken lets f decide about every put-token request from now on; nth counts from 1. Nil ends it. It must not call the Server.
func (s *Server) OnToken(f func(nth int) TokenVerdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.token, s.faults.tokenSeen = f, 0
}

// RejectNextTokens answers the next n put-token requests with this status and text.
func (s *Server) RejectNextTokens(n int, status int32, text string) {
	s.OnToken(func(nth int) TokenVerdict {
		if nth > n {
			return TokenVerdict{}
		}
		return TokenVerdict{Status: status, Text: text}
	})
}

// SwallowNextTokens accepts the next n put-token requests and never replies to them.
func (s *Server) SwallowNextTokens(n int) {
	s.OnToken(func(nth int) TokenVerdict { return TokenVerdict{Swallow: nth <= n} })
}

// RefuseNextAttach refuses the next link to an address, in any spelling.
func (s *Server) RefuseNextAttach(address, condition, description string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setAttachFaultLocked(address, attachFault{err: &amqpd.Error{Condition: amqpd.Symbol(condition), Description: description}})
}

// DetachNextAttach attaches the next link to an address, in any spelling, and detaches it at once.
func (s *Server) DetachNextAttach(address, condition, description string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setAttachFaultLocked(address, attachFault{wireError(condition, description), true})
}

// SetTelemetryCredit sets the credit that telemetry links get from now on, running ones included. 0 stops them.
func (s *Server) SetTelemetryCredit(n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.telemetryCredit = n
	for c := range s.conns {
		for l := range c.links {
			if l.addr.node == nodeTelemetry {
				l.wire.GrantCredit(n)
			}
		}
	}
}

// RefuseConnections makes the hub close new connections at once, or serve them again.
func (s *Server) RefuseConnections(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.refuse = refuse
}

func (s *Server) refusing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.refuse
}

// BlackHole is SetHole with HoleAll or HoleNone.
func (s *Server) BlackHole(on bool) {
	if on {
		s.SetHole(HoleAll)
		return
	}
	s.SetHole(HoleNone)
}

// DropConnections cuts every connection without a word and returns how many there were.
func (s *Server) DropConnections() int {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range all { // TLS has a last word to say, which may take a while
		c.wire.Drop()
	}
	return len(all)
}

// CloseConnections closes every connection with a condition, or without one when it is "".
func (s *Server) CloseConnections(condition, description string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.wire.Close(wireError(condition, description))
	}
	return len(s.conns)
}

// DetachLinks detaches every link to an address ("/devices/pi-17/messages/events", in any spelling), or every link but those to $cbs when
// it is "", with a condition or, when that is "", without. It returns how many there were.
func (s *Server) DetachLinks(address, condition, description string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.detachAtLocked(address, wireError(condition, description))
}

func (s *Server) detachAtLocked(address string, err *amqpd.Error) int {
	return s.eachAtLocked(address, func(l *link) { l.wire.Detach(err) })
}

func wireError(condition, description string) *amqpd.Error {
	if condition == "" {
		return nil
	}
	return &amqpd.Error{Condition: amqpd.Symbol(condition), Description: description}
}

func (s *Server) telemetryFault(device string) Verdict {
	s.faults.telemetrySeen++
	if s.faults.telemetry != nil {
		return s.faults.telemetry(device, s.faults.telemetrySeen)
	}
	if v, ok := s.ruleVerdictLocked(device); ok {
		return v
	}
	return s.throttleVerdictLocked()
}

func (s *Server) tokenFault() TokenVerdict {
	s.faults.tokenSeen++
	if s.faults.token == nil {
		return TokenVerdict{}
	}
	return s.faults.token(s.faults.tokenSeen)
}

// holeConn is a client's connection that can be made a black hole.
type holeConn struct {
	net.Conn
	s *Server
}

// ConnectionState returns what TLS below has agreed on, nothing without TLS.
func (h *holeConn) ConnectionState() tls.ConnectionState {
	if t, ok := h.Conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		return t.ConnectionState()
	}
	return tls.ConnectionState{}
}

// Read throws away what comes into a black hole, and is slow when it shall be.
func (h *holeConn) Read(p []byte) (int, error) {
	for {
		if rate := h.s.readRate.Load(); rate > 0 {
			p = p[:min(len(p), max(1, int(rate*slowStep.Milliseconds()/1000)))]
			<-time.After(slowStep) // a connection that is closed meanwhile fails below
		}
		n, err := h.Conn.Read(p)
		if hole := h.s.currentHole(); err != nil || hole == HoleNone || hole == HoleOut {
			return n, err
		}
	}
}

// Write loses what goes out into a black hole.
func (h *holeConn) Write(p []byte) (int, error) {
	if hole := h.s.currentHole(); hole != HoleNone && hole != HoleIn {
		return len(p), nil
	}
	return h.Conn.Write(p)
}
