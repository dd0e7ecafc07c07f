package iothub

import (
	"encoding/binary"
	"strings"

	amqp "github.com/Azure/go-amqp"
)

// session is what wire knows of one session. Both directions share it, under wire's mutex.
type session struct {
	// The state of AMQP 1.0 part 2 §2.5.6: ids of transfer frames, not of messages.
	nextOutgoing, nextIncoming     uint32
	incomingWindow, outgoingWindow uint32 // as our BEGIN says
	taken                          uint32 // transfers that the peer takes, counted as nextOutgoing is

	outgoing map[uint32]*end // by our handle
	incoming map[uint32]*end // by the peer's

	// Deliveries up to these belong to links that are gone: a settlement of one would end the library's session.
	deadSent, deadReceived mark
	nextSent, nextReceived uint32 // delivery-ids

	channel uint16 // ours
}

// mark is a delivery-id, or none yet.
type mark struct {
	id  uint32
	set bool
}

// covers reports whether a delivery is one of the last up to the mark, by serial number (AMQP 1.0 part 2 §2.8.10).
func (m mark) covers(id uint32) bool { return m.set && m.id-id <= maxRange }

// end is one link of a session.
type end struct {
	name   string
	s      *session
	handle uint32 // ours
	sender bool
	gate   *gate // of the telemetry link
	gone   bool  // detached from either side

	// count is the link's delivery-count as far as we know, limit what it may grow to: the credit is the difference.
	count, limit uint32
	partial      []byte // of a message in several frames
}

// credit is 0 where the peer has taken back what was used already.
func (l *end) credit() uint32 { return uint32(max(int32(l.limit-l.count), 0)) }

func newSession(channel uint16, begin [][]byte) *session {
	s := &session{channel: channel, outgoing: map[uint32]*end{}, incoming: map[uint32]*end{}}
	s.nextOutgoing, _ = uintField(begin, 1)
	s.incomingWindow, _ = uintField(begin, 2)
	s.outgoingWindow, _ = uintField(begin, 3)
	return s
}

// outbound takes note of a frame of the library's that is about to be written, and returns it, mended where the library does not know what we wrote
// beside it.
func (w *wire) outbound(frame []byte) []byte {
	code, fields, _, err := performative(frame)
	if err != nil {
		return frame // the library's own; the peer will say what is wrong with it
	}
	channel := binary.BigEndian.Uint16(frame[6:])
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sessions[channel]
	if code == codeBegin {
		w.sessions[channel] = newSession(channel, fields)
		return frame
	}
	if s == nil {
		return frame
	}
	handle, _ := uintField(fields, 0)
	switch code {
	case codeAttach:
		w.attaching(s, fields)
	case codeTransfer:
		s.sending(s.outgoing[handle], fields)
	case codeFlow:
		return s.flows(frame, fields)
	case codeDetach:
		w.end(s, s.outgoing[handle], remoteError(field(fields, 2)))
	case codeEnd:
		w.over(s, remoteError(field(fields, 0)))
		delete(w.sessions, channel)
	}
	return frame
}

// flows takes note of a FLOW of the library's and corrects what it says about transfers, of which the library has not sent all.
func (s *session) flows(frame []byte, fields [][]byte) []byte {
	l := s.linkOf(fields)
	if l != nil && !l.sender {
		count, _ := uintField(fields, 5)
		credit, _ := uintField(fields, 6)
		l.limit = count + credit
	}
	if next, _ := uintField(fields, 2); next == s.nextOutgoing || len(fields) < 3 {
		return frame
	}
	fields[2] = encodeUint(s.nextOutgoing)
	if l != nil && l.sender && len(fields) > 6 {
		fields[5], fields[6] = encodeUint(l.count), encodeUint(l.credit())
	}
	return rebuild(frame, fields)
}

// linkOf returns the link of a FLOW of ours, nil for one of the session alone.
func (s *session) linkOf(flow [][]byte) *end {
	if field(flow, 4) == nil {
		return nil
	}
	handle, _ := uintField(flow, 4)
	return s.outgoing[handle]
}

func (w *wire) attaching(s *session, fields [][]byte) {
	l := &end{name: textField(fields, 0), s: s, sender: !boolField(fields, 2)}
	l.handle, _ = uintField(fields, 1)
	s.outgoing[l.handle] = l
	if w.to.gate == nil || !strings.HasPrefix(l.name, telemetryPrefix) {
		return
	}
	l.gate, w.direct = w.to.gate, l
	l.gate.fresh(s.taken, s.nextOutgoing)
}

// sending takes note of a transfer frame of ours.
func (s *session) sending(l *end, fields [][]byte) {
	s.nextOutgoing++
	id, first := uintField(fields, 1)
	if first {
		s.nextSent = id + 1
	}
	if l == nil {
		return
	}
	if first {
		l.count++
	}
	if l.gate != nil {
		l.gate.written(s.nextOutgoing, id, first, l.gone)
	}
}

// end ends a link, once.
func (w *wire) end(s *session, l *end, cause *amqp.Error) {
	if l == nil || l.gone {
		return
	}
	l.gone = true
	if l.sender {
		s.deadSent = mark{s.nextSent - 1, true}
	} else {
		s.deadReceived = mark{s.nextReceived - 1, true}
	}
	w.to.lost(l.name, false, cause)
}

// over ends a session with its links.
func (w *wire) over(s *session, cause *amqp.Error) {
	for _, l := range s.outgoing {
		if !l.gone {
			l.gone = true
			w.to.lost(l.name, true, cause)
		}
	}
}

// echo returns a FLOW that tells the state of the link of that name and asks for the peer's (AMQP 1.0 part 2 §2.7.4), nil when there is no such link.
func (w *wire) echo(name string) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	for channel, s := range w.sessions {
		for _, l := range s.outgoing {
			if l.name == name && !l.gone {
				return s.echo(channel, l)
			}
		}
	}
	return nil
}

func (s *session) echo(channel uint16, l *end) []byte {
	no, yes := []byte{0x42}, []byte{0x41}
	available := encodeUint(0)
	if !l.sender {
		available = []byte{0x40}
	}
	fields := [][]byte{
		encodeUint(s.nextIncoming), encodeUint(s.incomingWindow), encodeUint(s.nextOutgoing), encodeUint(s.outgoingWindow),
		encodeUint(l.handle), encodeUint(l.count), encodeUint(l.credit()), available, no, yes,
	}
	frame := append(make([]byte, 8, 64), 0, 0x53, codeFlow)
	frame = append(frame, encodeList(fields, false)...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)))
	frame[4] = 2
	binary.BigEndian.PutUint16(frame[6:], channel)
	return frame
}

// probe asks the peer for the state of a link.
func (w *wire) probe(link string) {
	w.out.inject(func() []byte { return w.echo(link) })
}

// keepAlive writes an empty frame, which the peer does not answer.
func (w *wire) keepAlive() {
	w.out.inject(func() []byte { return []byte{0, 0, 0, 8, 2, 0, 0, 0} })
}
