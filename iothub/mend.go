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
		if handle, ok := uintField(fields, 1); ok {
			s.links[handle] = textField(fields, 0)
		}
	case codeFlow:
		return s.flow(frame, fields), nil
	case codeTransfer:
		return frame, s.transfer(fields, payload)
	case codeDisposition:
		return frame, s.disposition(fields)
	case codeDetach:
		handle, _ := uintField(fields, 0)
		w.to.lost(s.links[handle], remoteError(field(fields, 2)))
		delete(s.links, handle)
		delete(s.partial, handle)
		return closing(frame, fields), nil
	case codeEnd:
		w.to.lost("", remoteError(field(fields, 0)))
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
	s.window, _ = uintField(fields, 2)
	w.remote[channel] = s
	return nil
}

// flow puts in the next-incoming-id where it is missing (it is mandatory once the session is begun, AMQP 1.0 part 2 §2.7.4), namely the number of
// transfers written: a constant would close the library's window for good after as many transfers. A flow that names a link without its credit is
// made one of the session alone. Credit and window go to the gate.
func (s *session) flow(frame []byte, fields [][]byte) []byte {
	mended := false
	next, ok := uintField(fields, 0)
	if !ok {
		next, mended = s.transfers, true
		if len(fields) == 0 {
			return frame // not even the windows: the library refuses it
		}
		fields[0] = encodeUint(next)
	}
	credit, hasCredit := uintField(fields, 6)
	if field(fields, 4) != nil && !hasCredit {
		fields[4], mended = []byte{0x40}, true
	}
	if s.gate != nil {
		window, _ := uintField(fields, 1)
		count, _ := uintField(fields, 5)
		handle, named := uintField(fields, 4)
		s.gate.change(func() {
			s.gate.window = next + window
			if named && hasCredit && s.gate == s.gateOf(handle) {
				s.gate.credit = count + credit
			}
		})
	}
	if !mended {
		return frame
	}
	return rebuild(frame, fields)
}

// gateOf returns the gate if the handle is that of the telemetry link.
func (s *session) gateOf(handle uint32) *gate {
	if s.links[handle] != s.telemetry {
		return nil
	}
	return s.gate
}

// transfer keeps the parts of a message until it is whole and then checks its sections, because the library decodes them unguarded.
func (s *session) transfer(fields [][]byte, payload []byte) error {
	handle, _ := uintField(fields, 0)
	if boolField(fields, 9) { // aborted
		delete(s.partial, handle)
		return nil
	}
	if len(s.partial[handle])+len(payload) > maxInbound {
		return fmt.Errorf("message from the hub exceeds %d bytes", maxInbound)
	}
	if boolField(fields, 5) { // more
		s.partial[handle] = append(s.partial[handle], payload...)
		return nil
	}
	if part := s.partial[handle]; part != nil {
		payload = append(part, payload...)
		delete(s.partial, handle)
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

// disposition refuses one of so many deliveries that the library would count for ever, and tells the gate the outcome of telemetry.
func (s *session) disposition(fields [][]byte) error {
	first, _ := uintField(fields, 1)
	last, ok := uintField(fields, 2)
	if !ok {
		last = first
	}
	if last >= first && (last == math.MaxUint32 || last-first > maxRange) {
		return fmt.Errorf("disposition of deliveries %d to %d", first, last)
	}
	if role := boolField(fields, 0); s.gate == nil || !role || last < first {
		return nil // role true is the receiver's: what became of messages of ours
	}
	o, final := outcomeOf(field(fields, 4))
	if final || boolField(fields, 3) {
		s.gate.outcome(first, last, o)
	}
	return nil
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
