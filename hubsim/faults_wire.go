package hubsim

import (
	"maps"
	"net"
	"slices"
	"time"

	"iotagent/hubsim/amqpd"
)

// Hole is what a black hole swallows.
type Hole uint8

// The holes.
const (
	HoleNone Hole = iota
	HoleIn        // what clients send is thrown away; heartbeats still come to them
	HoleOut       // what clients send is taken, but nothing comes back: a half-open connection
	HoleAll       // both ways
	HoleTCP       // both ways and below TLS: TCP connects and no handshake is answered
)

// slowStep is the time between two reads of a slow reader.
const slowStep = 100 * time.Millisecond

// SetHole makes every connection silent, those that live and those to come. Connections that lived through a black hole are of no use after
// it ends: drop them.
func (s *Server) SetHole(h Hole) {
	s.hole.Store(uint32(h))
}

func (s *Server) currentHole() Hole { return Hole(s.hole.Load()) } // what SetHole stored

// SetReadRate makes the hub read so many bytes a second from each connection; 0: as they come.
func (s *Server) SetReadRate(bytes int) {
	s.readRate.Store(int64(max(bytes, 0)))
}

// SetOmitNextIncomingID makes the FLOW frames of connections from now on lack next-incoming-id, as Options.OmitNextIncomingID does.
func (s *Server) SetOmitNextIncomingID(omit bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.omitID = omit
}

// RefuseIdleTimeouts refuses clients that announce an idle timeout below least, from now on; 0 means Options.MinPeerIdleTimeout again.
func (s *Server) RefuseIdleTimeouts(least time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.idleMin = least
}

// wireConfig is what a new connection gets.
func (s *Server) wireConfig() *amqpd.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	config := *s.wire
	config.OmitNextIncomingID = config.OmitNextIncomingID || s.faults.omitID
	if s.faults.idleMin != 0 {
		config.MinPeerIdleTimeout = s.faults.idleMin
	}
	return &config
}

// handshakeTime is how long TLS may take: for ever, as good as, in a black hole.
func (s *Server) handshakeTime() time.Duration {
	if s.currentHole() == HoleTCP {
		return 24 * time.Hour
	}
	return 20 * time.Second
}

// ResetConnections cuts every connection with a TCP reset (RST) where there is TCP, and returns how many there were.
func (s *Server) ResetConnections() int {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.sockets))
	s.mu.Unlock()
	for _, nc := range all {
		if raw := rawOf(nc); raw != nil {
			raw.reset()
		} else {
			_ = nc.Close() // in memory there is no difference
		}
	}
	return len(all)
}

// rawOf returns the connection below TLS, nil in memory.
func rawOf(nc net.Conn) *rawConn {
	for nc != nil {
		switch c := nc.(type) {
		case *rawConn:
			return c
		case *webSocketConn:
			return c.raw
		case *holeConn:
			nc = c.Conn
		case interface{ NetConn() net.Conn }: // as tls.Conn has it
			nc = c.NetConn()
		default:
			return nil
		}
	}
	return nil
}

// rawListener gives connections the faults that lie below TLS.
type rawListener struct {
	net.Listener
	s *Server
}

// Accept returns the next connection.
func (l *rawListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &rawConn{Conn: nc, s: l.s}, nil
}

// rawConn is a connection below TLS.
type rawConn struct {
	net.Conn
	s *Server
}

func (c *rawConn) holed() bool { return c.s.currentHole() == HoleTCP }

// Read throws away what comes into the black hole.
func (c *rawConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.holed() {
			return n, err
		}
	}
}

// Write loses what goes out into the black hole.
func (c *rawConn) Write(p []byte) (int, error) {
	if c.holed() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// reset closes the connection without a FIN: the system answers whatever comes, and the peer at once, with RST.
func (c *rawConn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // at worst it is a FIN
	}
	_ = c.Conn.Close() // may be closed already
}
