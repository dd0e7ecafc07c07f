package iothub

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

const (
	// maxInbound bounds what one message from the hub may take in memory: a command is at most 64 KiB, an event that a service reads at most 256 KiB
	// without the hub's annotations.
	maxInbound = 512 << 10
	// maxRange bounds the deliveries that one disposition may name, each of which the library visits.
	maxRange = 1 << 20
)

// inbound looks at a frame from the peer and returns it, mended where it can be, or an error that ends the connection.
func (w *wire) inbound(frame []byte) ([]byte, error) {
	if frame[5] > 1 {
		return nil, fmt.Errorf("frame of unknown type %d", frame[5])
	}
	code, fields, payload, err := performative(frame)
	if err != nil {
		return nil, err
	}
	if frame[5] == 1 { // SASL
		return frame, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	channel := binary.BigEndian.Uint16(frame[6:])
	if code == codeOpen {
		if size, ok := uintField(fields, 2); ok && size < maxFrame {
			w.frame = int(size)
		}
		return frame, checkOpen(fields)
	}
	if code == codeBegin {
		return frame, w.begun(channel, fields)
	}
	s := w.remote[channel]
	if s == nil {
		return frame, nil // the library refuses it
	}
	switch code {
	case codeAttach:
		s.attached(fields)
	case codeFlow:
		return w.flow(s, frame, fields), nil
	case codeTransfer:
		return frame, w.transfer(s, fields, payload)
	case codeDisposition:
		return w.disposition(s, frame, fields)
	case codeDetach:
		handle, _ := uintField(fields, 0)
		l := s.incoming[handle]
		delete(s.incoming, handle)
		w.end(s, l, remoteError(field(fields, 2)))
		return closing(frame, fields), nil
	case codeEnd:
		w.over(s, remoteError(field(fields, 0)))
		delete(w.remote, channel)
	}
	return frame, nil
}

// checkOpen refuses limits that the library would calculate with and fail.
func checkOpen(fields [][]byte) error {
	if size, ok := uintField(fields, 2); ok && size < 512 {
		return fmt.Errorf("open with a max-frame-size of %d, below the protocol's 512", size)
	}
	if idle, ok := uintField(fields, 4); ok && idle > 0 && idle < 10 {
		return fmt.Errorf("open with an idle-time-out of %d ms", idle)
	}
	return nil
}

func (w *wire) begun(channel uint16, fields [][]byte) error {
	ours, ok := uintField(fields, 0)
	if !ok || ours > math.MaxUint16 {
		return errors.New("begin of a session that was not asked for")
	}
	s := w.sessions[uint16(ours)]
	if s == nil {
		return fmt.Errorf("begin for channel %d, which is not in use", ours)
	}
	s.nextIncoming, _ = uintField(fields, 1)
	window, _ := uintField(fields, 2)
	s.taken = s.nextOutgoing + window
	w.remote[channel] = s
	return nil
}

// attached takes note of the peer's handle for a link of ours.
func (s *session) attached(fields [][]byte) {
	handle, ok := uintField(fields, 1)
	if !ok {
		return
	}
	name := textField(fields, 0)
	for _, l := range s.outgoing {
		if l.name == name && !l.gone {
			s.incoming[handle] = l
			if !l.sender {
				l.count, _ = uintField(fields, 9) // initial-delivery-count
			}
		}
	}
}

// flow puts in the next-incoming-id where it is missing (it is mandatory once the session is begun, AMQP 1.0 part 2 §2.7.4), namely the number of
// transfers written: a constant would close the library's window for good after as many transfers. A flow that names a link without its credit is
// made one of the session alone. Credit and window go to the gate.
func (w *wire) flow(s *session, frame []byte, fields [][]byte) []byte {
	mended := false
	next, ok := uintField(fields, 0)
	if !ok {
		next, mended = s.nextOutgoing, true
		if len(fields) == 0 {
			return frame // not even the windows: the library refuses it
		}
		fields[0] = encodeUint(next)
	}
	if id, ok := uintField(fields, 2); ok {
		s.nextIncoming = id
	}
	window, _ := uintField(fields, 1)
	credit, hasCredit := uintField(fields, 6)
	if handle, named := uintField(fields, 4); named {
		l := s.incoming[handle]
		if l != nil {
			w.heard(l)
			count, _ := uintField(fields, 5)
			if l.sender && hasCredit {
				l.limit = count + credit
			}
		}
		if !hasCredit && (l == nil || l.sender) {
			fields[4], mended = []byte{0x40}, true
		}
	}
	s.taken = next + window
	s.opened()
	if !mended {
		return frame
	}
	return rebuild(frame, fields)
}

// opened passes the window, in transfer frames in all, and the credit on to the gate.
func (s *session) opened() {
	if l := s.telemetry(); l != nil {
		l.gate.open(s.taken, l.limit)
	}
}

func (w *wire) heard(l *end) {
	if w.to.heard != nil && !l.gone {
		w.to.heard(l.name)
	}
}

// transfer keeps the parts of a message until it is whole and then checks its sections, because the library decodes them unguarded.
func (w *wire) transfer(s *session, fields [][]byte, payload []byte) error {
	s.nextIncoming++
	if id, first := uintField(fields, 1); first {
		s.nextReceived = id + 1
	}
	handle, _ := uintField(fields, 0)
	l := s.incoming[handle]
	if l == nil {
		return nil // the library refuses it
	}
	w.heard(l)
	if boolField(fields, 9) { // aborted
		l.partial = nil
		return nil
	}
	if len(l.partial)+len(payload) > maxInbound {
		return fmt.Errorf("message from the hub exceeds %d bytes", maxInbound)
	}
	if boolField(fields, 5) { // more
		l.partial = append(l.partial, payload...)
		return nil
	}
	l.count++
	if l.partial != nil {
		payload = append(l.partial, payload...)
		l.partial = nil
	}
	for len(payload) > 0 {
		if payload[0] != 0 {
			return errors.New("message section without a descriptor")
		}
		var err error
		if payload, err = skipValue(payload, 0); err != nil {
			return fmt.Errorf("message from the hub: %w", err)
		}
	}
	return nil
}

// disposition refuses one of so many deliveries that the library would count for ever, leaves out deliveries of links that are gone, which would end the
// library's session, and tells the gate the outcome of telemetry, which the library knows nothing of. No frame is left where nothing is left for the library.
func (w *wire) disposition(s *session, frame []byte, fields [][]byte) ([]byte, error) {
	first, _ := uintField(fields, 1)
	last, ok := uintField(fields, 2)
	if !ok {
		last = first
	}
	if last >= first && (last == math.MaxUint32 || last-first > maxRange) {
		return nil, fmt.Errorf("disposition of deliveries %d to %d", first, last)
	}
	ours := boolField(fields, 0) // role true is the receiver's: what became of messages of ours
	if l := s.telemetry(); ours && l != nil {
		if o, final := outcomeOf(field(fields, 4)); last >= first && (final || boolField(fields, 3)) {
			l.gate.outcome(first, last, o)
			w.answer = confirmation(s.channel, fields)
		}
		return nil, nil
	}
	dead := s.deadReceived
	if ours {
		dead = s.deadSent
	}
	switch {
	case dead.covers(last):
		return nil, nil
	case dead.covers(first):
		fields[1] = encodeUint(dead.id + 1)
		return rebuild(frame, fields), nil
	}
	return frame, nil
}

// closing makes a detach a closing one: the library waits for ever after the other kind, and to us a suspended link is a lost one.
func closing(frame []byte, fields [][]byte) []byte {
	if boolField(fields, 1) || len(fields) == 0 {
		return frame
	}
	yes := []byte{0x41}
	if len(fields) == 1 {
		fields = append(fields, yes)
	} else {
		fields[1] = yes
	}
	return rebuild(frame, fields)
}

// rebuild returns the frame with other fields. Only frames without a payload are rebuilt.
func rebuild(frame []byte, fields [][]byte) []byte {
	out := append([]byte(nil), frame[:11]...)
	out = append(out, encodeList(fields, frame[11] == 0xd0)...)
	binary.BigEndian.PutUint32(out, uint32(len(out)))
	return out
}
