package hubsim

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"iotagent/hubsim/amqpd"
)

const (
	condThrottled    = "com.microsoft:device-container-throttled"
	condOpenRedirect = "amqp:connection:redirect"
)

// faultPlace is an address in any of its spellings.
type faultPlace struct {
	address
	text string // of what is no address of the hub
}

func (s *Server) placeOf(text string) faultPlace {
	if a := parseAddress(text, s.entity()); a.node != nodeUnknown {
		return faultPlace{address: a}
	}
	return faultPlace{text: strings.ToLower(text)}
}

func (s *Server) setAttachFaultLocked(address string, f attachFault) {
	if s.faults.attach == nil {
		s.faults.attach = map[faultPlace]attachFault{}
	}
	s.faults.attach[s.placeOf(address)] = f
}

func (s *Server) takeAttachFaultLocked(address string) attachFault {
	at := s.placeOf(address)
	f := s.faults.attach[at]
	delete(s.faults.attach, at)
	return f
}

// Target is where a redirect points to.
type Target struct {
	// Host and Port are where to connect to.
	Host string
	Port uint16
	// Hostname is the hub's name there, for TLS and the AMQP open; "" means Host.
	Hostname string
	// Address is the link's address there; "" means the same as here. It does not matter for a connection.
	Address string
}

// ParseTarget reads HOST:PORT.
func ParseTarget(text string) (Target, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return Target{}, fmt.Errorf("redirect to %q: want HOST:PORT", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || n == 0 {
		return Target{}, fmt.Errorf("redirect to %q: want HOST:PORT", text)
	}
	return Target{Host: host, Port: uint16(n)}, nil
}

func (t Target) info() amqpd.Fields {
	name := t.Hostname
	if name == "" {
		name = t.Host
	}
	return amqpd.Fields{
		{Key: "hostname", Value: name}, {Key: "network-host", Value: t.Host}, {Key: "port", Value: int32(t.Port)},
	}
}

// RedirectOnce sends the link at an address elsewhere with amqp:link:redirect: those that are attached now (it returns how many) or,
// when there are none, the next one.
func (s *Server) RedirectOnce(address string, to Target) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to.Address == "" {
		to.Address = address
	}
	err := &amqpd.Error{Condition: condRedirect, Description: "The link is redirected to " + to.Host + ".", Info: append(to.info(),
		amqpd.Field{Key: "address", Value: fmt.Sprintf("amqps://%s/%s", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))), strings.TrimPrefix(to.Address, "/"))})}
	n := s.detachAtLocked(address, err)
	if n == 0 {
		s.setAttachFaultLocked(address, attachFault{err: err})
	}
	return n
}

// RedirectNextConnection closes the next connection with amqp:connection:redirect as soon as it is open.
func (s *Server) RedirectNextConnection(to Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.open = &amqpd.Error{Condition: condOpenRedirect, Description: "The connection is redirected to " + to.Host + ".", Info: to.info()}
}

func (s *Server) takeOpenFaultLocked() error {
	err := s.faults.open
	s.faults.open = nil
	if err == nil { // not a nil pointer in an interface
		return nil
	}
	return err
}

// SetSessionWindow sets how many transfer frames a session may have under way; 0 stops every link on it, negative means the default. It is
// for the sessions of links other than to $cbs, running ones included.
func (s *Server) SetSessionWindow(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.window = n
	done := map[*amqpd.Session]bool{}
	for c := range s.conns {
		for l := range c.links {
			if session := l.wire.Session(); l.addr.node != nodeCBS && !done[session] {
				done[session] = true
				session.SetIncomingWindow(s.windowLocked())
			}
		}
	}
}

const defaultWindow = 5000

func (s *Server) windowLocked() uint32 {
	if s.faults.window < 0 {
		return defaultWindow
	}
	return uint32(min(s.faults.window, 1<<30)) // not negative here
}

// windowFaultLocked gives a new link's session the window that is set.
func (s *Server) windowFaultLocked(l *link) {
	if s.faults.window >= 0 && l.addr.node != nodeCBS {
		l.wire.Session().SetIncomingWindow(s.windowLocked())
	}
}
