package iothub

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/Azure/go-amqp"
)

// maxFrame is the frame size that our OPEN announces; nothing larger is let in.
const maxFrame = 65536

// wire stands between the transport and the AMQP library, which trusts its peer: a FLOW without link-credit or a compound map key ends the process, a
// FLOW without next-incoming-id (which some gateways of the real hub send) ends the session, a detach goes unnoticed until the link is used next.
// wire reads each frame before the library does, mends or refuses what the library could not bear, and tells the client what happens to its links.
// It also writes what the library has no call for: a FLOW that asks for an answer, an empty frame.
// Read is for one goroutine, Write for others, as net.Conn has it in the library's use.
type wire struct {
	net.Conn
	to     *watch
	failed atomic.Bool // the transport returned an error
	// saslAsked: the peer answered with the header of a SASL layer.
	saslAsked atomic.Bool

	raw   []byte // read and not yet framed
	ready []byte // one whole frame, or the rest of it, on its way to the library
	out   *outlet

	read, wrote atomic.Uint64 // bytes
	lastRead    atomic.Int64  // when a frame came last, in ns after born
	born        time.Time

	answer []byte // to what Read has just read

	mu       sync.Mutex          // what both directions know:
	sessions map[uint16]*session // by our channel
	remote   map[uint16]*session // by the peer's
	direct   *end                // the telemetry link that is being made, or was last
	frame    int                 // the largest frame that the peer takes
}

// watch is what wire tells: each call comes from the goroutine that reads or writes and must not block.
type watch struct {
	// gate belongs to the link whose name begins with "telemetry-"; nil where there is none.
	gate *gate
	// lost is called when a link ends, from either side and once; session says that its session does.
	lost func(link string, session bool, cause *amqp.Error)
	// heard is called with the name of a link that the peer says something on; nil: nobody listens.
	heard func(link string)
	// broken is called when the peer breaks the protocol; the connection then fails.
	broken func(error)
}

// Mend returns conn for use by the AMQP library in another client of IoT Hub: frames from the hub that would end the library's session or the whole
// process are mended or refused on the way.
func Mend(conn net.Conn) net.Conn {
	return newWire(conn, &watch{lost: func(string, bool, *amqp.Error) {}, broken: func(error) {}})
}

// newWire starts a goroutine that ends with Close, or when the transport fails.
func newWire(conn net.Conn, to *watch) *wire {
	w := &wire{Conn: conn, to: to, frame: maxFrame, born: time.Now(), sessions: map[uint16]*session{}, remote: map[uint16]*session{}}
	w.out = newOutlet(conn, w.written)
	go w.out.run()
	return w
}

// silence returns for how long the peer has said nothing.
func (w *wire) silence() time.Duration {
	return time.Since(w.born) - time.Duration(w.lastRead.Load())
}

func (w *wire) written(n int, err error) {
	w.wrote.Add(uint64(n))
	if err != nil {
		w.failed.Store(true)
	}
}

// Read returns bytes of one frame at a time, so that the library never meets a frame's head without its body, whatever the transport does.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.ready) == 0 {
		unit, rest, err := w.cut()
		if err != nil {
			w.to.broken(err)
			return 0, err
		}
		if len(rest) == len(w.raw) { // nothing whole
			if err := w.fill(); err != nil {
				return 0, err
			}
			continue
		}
		w.ready, w.raw = unit, rest
		w.lastRead.Store(int64(time.Since(w.born)))
	}
	n := copy(p, w.ready)
	w.ready = w.ready[n:]
	return n, nil
}

func (w *wire) fill() error {
	var chunk [4096]byte
	n, err := w.Conn.Read(chunk[:])
	w.read.Add(uint64(n))
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

// cut takes the next protocol header or frame, mended, off what was read; unit is nil when it is not for the library. The rest is all while it is not all there.
func (w *wire) cut() (unit, rest []byte, err error) {
	if len(w.raw) < 8 {
		return nil, w.raw, nil
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
		return nil, w.raw, nil
	}
	unit, rest = w.raw[:size], w.raw[size:]
	if size > 8 {
		unit, err = w.inbound(unit)
		if answer := w.answer; answer != nil {
			w.answer = nil
			w.out.inject(func() []byte { return answer })
		}
	}
	return unit, rest, err
}

// Write takes note of what the library writes, which is whole frames, and has it written as soon as the transport is free.
func (w *wire) Write(p []byte) (int, error) {
	n := len(p)
	return n, w.out.put(func(to []byte) ([]byte, error) {
		for len(p) >= 8 && string(p[:4]) != "AMQP" {
			size := binary.BigEndian.Uint32(p)
			if size < 8 || uint64(size) > uint64(len(p)) {
				break
			}
			frame := p[:size]
			if size > 8 && p[5] == 0 {
				frame = w.outbound(frame)
			}
			to, p = append(to, frame...), p[size:]
		}
		return append(to, p...), nil
	})
}

// SetWriteDeadline does nothing: the outlet has a deadline of its own for each write.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// Close writes what is left, for a second at most, and closes the transport.
func (w *wire) Close() error {
	w.out.close(time.Second)
	return w.Conn.Close()
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
