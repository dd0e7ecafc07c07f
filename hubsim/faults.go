package hubsim

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
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
	token           func(nth int) TokenVerdict
	tokenSeen       int
	attach          map[string]*amqpd.Error // by lower-case address; taken once
	telemetryCredit uint32
	refuse          bool
	hole            atomic.Bool // read without the mutex: a connection may be closed under it, and says goodbye then
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

// RefuseNextAttach refuses the next link to an address, spelled as the client does but for its letter case.
func (s *Server) RefuseNextAttach(address, condition, description string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.attach == nil {
		s.faults.attach = map[string]*amqpd.Error{}
	}
	s.faults.attach[strings.ToLower(address)] = &amqpd.Error{Condition: amqpd.Symbol(condition), Description: description}
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

// BlackHole makes every connection silent: what comes is thrown away and nothing goes out. Connections that lived through one are of no use
// after it ends: drop them.
func (s *Server) BlackHole(on bool) {
	s.faults.hole.Store(on)
}

// DropConnections cuts every connection without a word and returns how many there were.
func (s *Server) DropConnections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.wire.Drop()
	}
	return len(s.conns)
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
	want := parseAddress(address, s.entity())
	n := 0
	for c := range s.conns {
		for l := range c.links {
			if l.addr == want || (address == "" && l.addr.node != nodeCBS) {
				s.forgetLocked(l)
				l.wire.Detach(wireError(condition, description))
				n++
			}
		}
	}
	s.noteLocked()
	return n
}

func wireError(condition, description string) *amqpd.Error {
	if condition == "" {
		return nil
	}
	return &amqpd.Error{Condition: amqpd.Symbol(condition), Description: description}
}

func (s *Server) telemetryFault(device string) Verdict {
	s.faults.telemetrySeen++
	if s.faults.telemetry == nil {
		return Verdict{}
	}
	return s.faults.telemetry(device, s.faults.telemetrySeen)
}

func (s *Server) tokenFault() TokenVerdict {
	s.faults.tokenSeen++
	if s.faults.token == nil {
		return TokenVerdict{}
	}
	return s.faults.token(s.faults.tokenSeen)
}

func (s *Server) takeAttachFault(address string) *amqpd.Error {
	key := strings.ToLower(address)
	err := s.faults.attach[key]
	delete(s.faults.attach, key)
	return err
}

// holeConn is a client's connection that can be made a black hole.
type holeConn struct {
	net.Conn
	s *Server
}

func (h *holeConn) hole() bool { return h.s.faults.hole.Load() }

// ConnectionState returns what TLS below has agreed on, nothing without TLS.
func (h *holeConn) ConnectionState() tls.ConnectionState {
	if t, ok := h.Conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		return t.ConnectionState()
	}
	return tls.ConnectionState{}
}

// Read throws away what comes while the hub is a black hole.
func (h *holeConn) Read(p []byte) (int, error) {
	for {
		n, err := h.Conn.Read(p)
		if err != nil || !h.hole() {
			return n, err
		}
	}
}

// Write loses what goes out while the hub is a black hole.
func (h *holeConn) Write(p []byte) (int, error) {
	if h.hole() {
		return len(p), nil
	}
	return h.Conn.Write(p)
}
