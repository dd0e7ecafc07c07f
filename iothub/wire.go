package iothub

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	amqp "github.com/Azure/go-amqp"
)

// maxFrame is the frame size that our OPEN announces; nothing larger is let in.
const maxFrame = 65536

// wire stands between the transport and the AMQP library, which trusts its peer: a FLOW without link-credit or a compound map key ends the process, a
// FLOW without next-incoming-id (which some gateways of the real hub send) ends the session, a detach goes unnoticed until the link is used next.
// wire reads each frame before the library does, mends or refuses what the library could not bear, and tells the client what happens to its links.
// Read is for one goroutine, Write for another, as net.Conn has it in the library's use.
type wire struct {
	net.Conn
	to     *watch
	failed atomic.Bool // the transport returned an error
	// saslAsked: the peer answered with the header of a SASL layer.
	saslAsked atomic.Bool

	raw   []byte // read and not yet framed
	ready []byte // one whole frame, or the rest of it, on its way to the library

	mu       sync.Mutex          // what both directions know:
	sessions map[uint16]*session // by our channel
	remote   map[uint16]*session // by the peer's
}

// session is what wire knows of one session.
type session struct {
	gate      *gate             // of the session that carries telemetry
	telemetry string            // the name of its link
	transfers uint32            // transfer frames we wrote
	window    uint32            // of the peer's BEGIN
	links     map[uint32]string // names by the peer's handle
	outgoing  map[uint32]string // names by our handle
	partial   map[uint32][]byte // messages of several frames, by the peer's handle
}

// watch is what wire tells: each call comes from the goroutine that reads or writes and must not block.
type watch struct {
	gate *gate
	// telemetry is the name of the link that gate belongs to.
	telemetry string
	// lost is called when a link ("" for a whole session) ends, from either side.
	lost func(link string, cause *amqp.Error)
	// broken is called when the peer breaks the protocol; the connection then fails.
	broken func(error)
}

// Mend returns conn for use by the AMQP library in another client of IoT Hub: frames from the hub that would end the library's session or the whole
// process are mended or refused on the way.
func Mend(conn net.Conn) net.Conn {
	return newWire(conn, &watch{lost: func(string, *amqp.Error) {}, broken: func(error) {}})
}

func newWire(conn net.Conn, to *watch) *wire {
	return &wire{Conn: conn, to: to, sessions: map[uint16]*session{}, remote: map[uint16]*session{}}
}

// Read returns bytes of one frame at a time, so that the library never meets a frame's head without its body, whatever the transport does.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.ready) == 0 {
		unit, rest, err := w.cut()
		if err != nil {
			w.to.broken(err)
			return 0, err
		}
		if unit != nil {
			w.ready, w.raw = unit, rest
			break
		}
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.ready)
	w.ready = w.ready[n:]
	return n, nil
}

func (w *wire) fill() error {
	var chunk [4096]byte
	n, err := w.Conn.Read(chunk[:])
	w.raw = append(w.raw, chunk[:n]...)
	if n > 0 {
		return nil // an error will come again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	w.failed.Store(true)
	return err
}

// cut takes the next protocol header or frame, mended, off what was read; unit is nil while it is not all there.
func (w *wire) cut() (unit, rest []byte, err error) {
	if len(w.raw) < 8 {
		return nil, nil, nil
	}
	if string(w.raw[:4]) == "AMQP" {
		w.saslAsked.Store(w.raw[4] == saslProtocol)
		return w.raw[:8], w.raw[8:], nil
	}
	size := binary.BigEndian.Uint32(w.raw)
	switch {
	case size < 8:
		return nil, nil, fmt.Errorf("frame of %d bytes is shorter than its header", size)
	case size > maxFrame:
		return nil, nil, fmt.Errorf("frame of %d bytes is larger than the %d that were announced, or this is no AMQP server", size, maxFrame)
	case w.raw[4] != 2:
		return nil, nil, fmt.Errorf("frame with data offset %d", w.raw[4])
	case len(w.raw) < int(size):
		return nil, nil, nil
	}
	unit, rest = w.raw[:size], w.raw[size:]
	if size > 8 {
		unit, err = w.inbound(unit)
	}
	return unit, rest, err
}

// Write passes on what the library writes, which is whole frames, and takes note of them.
func (w *wire) Write(p []byte) (int, error) {
	for b := p; len(b) >= 8 && string(b[:4]) != "AMQP"; {
		size := binary.BigEndian.Uint32(b)
		if size < 8 || uint64(size) > uint64(len(b)) {
			break
		}
		if size > 8 && b[5] == 0 {
			w.outbound(b[:size])
		}
		b = b[size:]
	}
	n, err := w.Conn.Write(p)
	if err != nil {
		w.failed.Store(true)
	}
	return n, err
}

// saslProtocol is the protocol id of a SASL layer in a protocol header (AMQP 1.0 part 5 §5.3.2).
const saslProtocol = 3

// The performatives of AMQP 1.0 part 2 §2.7.
const (
	codeOpen        = 0x10
	codeBegin       = 0x11
	codeAttach      = 0x12
	codeFlow        = 0x13
	codeTransfer    = 0x14
	codeDisposition = 0x15
	codeDetach      = 0x16
	codeEnd         = 0x17
)

var errPerformative = errors.New("frame without a performative")

// performative splits a frame's body.
func performative(frame []byte) (code byte, fields [][]byte, payload []byte, err error) {
	body := frame[8:]
	if len(body) < 4 || body[0] != 0 || body[1] != 0x53 {
		return 0, nil, nil, errPerformative
	}
	fields, payload, err = list(body[3:])
	if err != nil {
		return 0, nil, nil, fmt.Errorf("performative %#02x: %w", body[2], err)
	}
	return body[2], fields, payload, nil
}

// outbound takes note of a frame that is about to be written.
func (w *wire) outbound(frame []byte) {
	code, fields, _, err := performative(frame)
	if err != nil {
		return // the library's own; the peer will say what is wrong with it
	}
	channel := binary.BigEndian.Uint16(frame[6:])
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sessions[channel]
	if code == codeBegin {
		w.sessions[channel] = &session{links: map[uint32]string{}, outgoing: map[uint32]string{}, partial: map[uint32][]byte{}}
		return
	}
	if s == nil {
		return
	}
	handle, _ := uintField(fields, 0)
	switch code {
	case codeAttach:
		handle, _ = uintField(fields, 1)
		name := textField(fields, 0)
		s.outgoing[handle] = name
		if w.to.gate != nil && name == w.to.telemetry {
			s.gate, s.telemetry = w.to.gate, name
			s.gate.change(func() { s.gate.window = s.window; s.gate.frames = s.transfers })
		}
	case codeTransfer:
		s.transfers++
		if s.gate != nil && s.outgoing[handle] == s.telemetry {
			id, first := uintField(fields, 1)
			s.gate.written(s.transfers, id, first)
		}
	case codeDetach:
		w.to.lost(s.outgoing[handle], remoteError(field(fields, 2)))
	case codeEnd:
		w.to.lost("", remoteError(field(fields, 0)))
	}
}

// remoteError decodes the error of a DETACH or an END, nil where there is none.
func remoteError(b []byte) *amqp.Error {
	if len(b) < 4 || b[0] != 0 || b[1] != 0x53 || b[2] != 0x1d {
		return nil
	}
	if fields, _, err := list(b[3:]); err == nil {
		return &amqp.Error{Condition: amqp.ErrCond(textField(fields, 0)), Description: textField(fields, 1), Info: infoMap(field(fields, 2))}
	}
	return nil
}
