package amqpd

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	frameTypeAMQP = 0
	frameTypeSASL = 1
	frameHeader   = 8
	minFrameSize  = 512 // every peer accepts it (part 2, 2.4.1)
)

// frame is one frame as it was read. Its body is valid until the next is read.
type frame struct {
	typ     byte
	channel uint16
	code    uint64       // descriptor of the performative; 0 in an empty frame
	perf    *fieldReader // its fields
	payload []byte
}

// frameReader reads frames of at most limit bytes.
type frameReader struct {
	r     io.Reader
	limit uint32
	buf   []byte
}

// read reads one frame. The error is an *Error if the peer is to blame, and
// otherwise what r returned.
func (fr *frameReader) read() (*frame, error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(fr.r, h[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(h[:])
	offset := 4 * uint32(h[4])
	switch {
	case size < frameHeader:
		return nil, errf(CondFramingError, "frame of %d bytes", size)
	case size > fr.limit:
		return nil, errf(CondFramingError, "frame of %d bytes, at most %d are allowed", size, fr.limit)
	case offset < frameHeader || offset > size:
		return nil, errf(CondFramingError, "data offset of %d words in a frame of %d bytes", h[4], size)
	}
	n := int(size) - frameHeader
	if n > cap(fr.buf) {
		fr.buf = make([]byte, max(n, 4096))
	}
	body := fr.buf[:n]
	if _, err := io.ReadFull(fr.r, body); err != nil {
		return nil, noEOF(err)
	}
	f := &frame{typ: h[5], channel: binary.BigEndian.Uint16(h[6:])}
	if err := f.parse(body[offset-frameHeader:]); err != nil {
		return nil, &Error{Condition: CondDecodeError, Description: err.Error()}
	}
	return f, nil
}

// noEOF makes an end in the middle of a frame an unexpected one.
func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // io.Reader returns it bare.
		return io.ErrUnexpectedEOF
	}
	return err
}

// parse reads the performative; what follows it is the payload.
func (f *frame) parse(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	d := &decoder{b: body}
	v, err := d.value()
	if err != nil {
		return fmt.Errorf("frame body: %w", err)
	}
	code, list, err := describedList(v)
	if err != nil {
		return fmt.Errorf("frame body: %w", err)
	}
	f.code, f.perf, f.payload = code, &fieldReader{list: list}, d.b
	if code == 0 {
		f.code = ^uint64(0) // something, but nothing we know
	}
	return nil
}

// appendFrame appends one frame. A nil performative makes an empty frame.
func appendFrame(b []byte, typ byte, channel uint16, p performative, payload []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 2, typ)
	b = binary.BigEndian.AppendUint16(b, channel)
	if p != nil {
		b = appendPerformative(b, p)
	}
	b = append(b, payload...)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}
