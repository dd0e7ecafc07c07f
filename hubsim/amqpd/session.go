package amqpd

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// Session is one session of a connection. All its state is guarded by Conn.mu.
type Session struct {
	c       *Conn
	channel uint16

	nextIncomingID uint32 // transfer-id of the next transfer from the peer
	window         uint32 // the incoming window that we keep up
	windowEnd      uint32 // first transfer-id that we announced no room for yet
	furthest       uint32 // the highest windowEnd ever; the peer may still go so far

	nextOutgoingID uint32 // transfer-id of our next transfer
	remoteWindow   uint32 // transfers that the peer has room for
	nextDeliveryID uint32
	remoteHandles  uint32 // the highest handle that the peer allows us

	links   map[uint32]*Link // by the peer's handle
	used    uint64           // one more than the highest of the peer's handles so far
	handles handlePool       // ours

	incoming map[uint32]*Incoming // unsettled
	outgoing map[uint32]*Outgoing // unsettled
	pending  []*Outgoing          // not completely written, in order

	endSent bool // what still comes is thrown away until the peer's END
}

// Conn returns the session's connection.
func (s *Session) Conn() *Conn { return s.c }

// Channel returns the session's channel number.
func (s *Session) Channel() uint16 { return s.channel }

// End ends the session and its links with err, which may be nil.
func (s *Session) End(err *Error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.end(err)
}

// SetIncomingWindow announces another incoming window and keeps to it. Zero
// forbids the peer to send transfers on the session.
func (s *Session) SetIncomingWindow(n uint32) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.window = n
	s.renewWindow()
	s.send(s.flow())
}

// handle takes one frame from the peer. mu is held. An error ends the connection.
func (c *Conn) handle(f *frame) error {
	if f.typ != frameTypeAMQP {
		return errf(CondFramingError, "frame of type %d", f.typ)
	}
	if f.code == 0 {
		return nil // a heartbeat
	}
	if f.code == codeClose {
		return c.peerCloses(f.perf)
	}
	if c.closeSent {
		return nil
	}
	switch f.code {
	case codeOpen:
		return errf(CondIllegalState, "second open")
	case codeBegin:
		return c.begin(f)
	case codeAttach, codeFlow, codeTransfer, codeDisposition, codeDetach, codeEnd:
	default:
		return errf(CondDecodeError, "performative 0x%x is unknown", f.code)
	}
	s := c.sessions[f.channel]
	if s == nil {
		return errf(CondIllegalState, "performative 0x%x on channel %d, which has no session", f.code, f.channel)
	}
	return s.handle(f)
}

// peerCloses answers CLOSE.
func (c *Conn) peerCloses(r *fieldReader) error {
	err := readError(r) // whatever it says, the connection is over
	if err != nil {
		c.because(err)
	} else {
		c.because(nil)
	}
	if !c.closeSent {
		c.closeSent = true
		c.send(0, &closeFrame{})
	}
	return errDone
}

// begin opens a session on the channel that the peer chose; ours has the same number.
func (c *Conn) begin(f *frame) error {
	b := readBegin(f.perf)
	switch {
	case f.perf.err != nil:
		return errf(CondDecodeError, "begin: %v", f.perf.err)
	case f.channel > c.cfg.ChannelMax:
		return errf(CondFramingError, "channel %d is above the maximum of %d", f.channel, c.cfg.ChannelMax)
	case c.sessions[f.channel] != nil:
		return errf(CondIllegalState, "channel %d has a session already", f.channel)
	}
	s := &Session{
		c: c, channel: f.channel,
		nextIncomingID: b.nextOutgoingID, window: c.cfg.IncomingWindow,
		nextOutgoingID: c.cfg.FirstID, remoteWindow: b.incomingWindow,
		nextDeliveryID: c.cfg.FirstID, remoteHandles: b.handleMax,
		links:    make(map[uint32]*Link),
		incoming: make(map[uint32]*Incoming), outgoing: make(map[uint32]*Outgoing),
	}
	s.furthest = s.nextIncomingID
	s.renewWindow()
	c.sessions[f.channel] = s
	s.send(&beginFrame{
		remoteChannel: some(uint32(f.channel)), nextOutgoingID: s.nextOutgoingID,
		incomingWindow: s.window, outgoingWindow: math.MaxUint32, handleMax: c.cfg.HandleMax,
	})
	return nil
}

// handle takes one frame of the session. An error ends the connection; what
// ends only the session or a link is dealt with in here.
func (s *Session) handle(f *frame) error {
	if s.endSent {
		if f.code == codeEnd {
			delete(s.c.sessions, s.channel)
		}
		return nil
	}
	r := f.perf
	var err error
	switch f.code {
	case codeAttach:
		if a := readAttach(r); r.err == nil {
			err = s.peerAttaches(a)
		}
	case codeFlow:
		if flow := readFlow(r); r.err == nil {
			s.peerFlows(flow)
		}
	case codeTransfer:
		if t := readTransfer(r); r.err == nil {
			s.peerTransfers(t, f.payload)
		}
	case codeDisposition:
		if d := readDisposition(r); r.err == nil {
			s.peerDisposes(d)
		}
	case codeDetach:
		if d := readDetach(r); r.err == nil {
			s.peerDetaches(d)
		}
	case codeEnd:
		var cause error
		if e := readError(r); e != nil {
			cause = e
		}
		s.send(&endFrame{})
		s.drop(cause)
		delete(s.c.sessions, s.channel)
	}
	if r.err != nil {
		return errf(CondDecodeError, "performative 0x%x: %v", f.code, r.err)
	}
	return err
}

// end ends the session from our side. mu is held.
func (s *Session) end(err *Error) {
	if s.endSent || s.c.closeSent || s.c.ended || s.c.sessions[s.channel] != s {
		return
	}
	s.endSent = true
	s.send(&endFrame{err})
	if err == nil {
		s.drop(nil)
	} else {
		s.drop(err)
	}
}

// drop lets go of all that the session holds. mu is held.
func (s *Session) drop(err error) {
	for _, l := range sortedByKey(s.links) {
		l.release(err)
		s.forget(l)
	}
}

// forget frees a link's handles. mu is held.
func (s *Session) forget(l *Link) {
	delete(s.links, l.peerHandle)
	s.handles.free(l.handle)
	s.c.links--
}

// send queues a frame on the session's channel. mu is held.
func (s *Session) send(p performative) {
	if !s.c.ended {
		s.c.send(s.channel, p)
	}
}

// renewWindow moves the end of the incoming window; the caller tells the peer.
func (s *Session) renewWindow() {
	s.windowEnd = s.nextIncomingID + s.window
	if serialLess(s.furthest, s.windowEnd) {
		s.furthest = s.windowEnd
	}
}

// flow makes a FLOW of the session's state.
func (s *Session) flow() *flowFrame {
	f := &flowFrame{
		nextIncomingID: some(s.nextIncomingID), incomingWindow: s.windowEnd - s.nextIncomingID,
		nextOutgoingID: s.nextOutgoingID, outgoingWindow: math.MaxUint32,
	}
	if serialLess(s.windowEnd, s.nextIncomingID) {
		f.incomingWindow = 0
	}
	if s.c.cfg.OmitNextIncomingID {
		f.nextIncomingID.given = false
	}
	return f
}

// peerFlows takes a FLOW (part 2, 2.5.6 and 2.6.7).
func (s *Session) peerFlows(f *flowFrame) {
	seen := s.c.cfg.FirstID // the peer may not have got our BEGIN yet
	if f.nextIncomingID.given {
		seen = f.nextIncomingID.n
	}
	s.remoteWindow = 0
	if underWay := s.nextOutgoingID - seen; underWay < f.incomingWindow {
		s.remoteWindow = f.incomingWindow - underWay
	}
	s.pump()
	if !f.handle.given {
		if f.echo && !s.c.muteEcho {
			s.send(s.flow())
		}
		return
	}
	l := s.links[f.handle.n]
	if l == nil {
		if uint64(f.handle.n) < s.used {
			return // credit that crossed the end of the link: some clients still grant it after their own detach
		}
		s.end(errf(CondUnattachedHandle, "flow for handle %d, which is not attached", f.handle.n))
		return
	}
	if l.state == linkAttached {
		l.peerFlows(f)
	}
}

// serialLess compares serial numbers (RFC 1982).
func serialLess(a, b uint32) bool { return int32(a-b) < 0 }

// sortedByKey returns the values of a map in the order of the keys.
func sortedByKey[K cmp.Ordered, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// handlePool gives out the lowest numbers that it can cheaply find.
type handlePool struct {
	next uint32
	used []uint32 // given back
}

func (p *handlePool) take() uint32 {
	if n := len(p.used); n > 0 {
		h := p.used[n-1]
		p.used = p.used[:n-1]
		return h
	}
	p.next++
	return p.next - 1
}

func (p *handlePool) free(h uint32) { p.used = append(p.used, h) }
