package modbus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"iotagent/sensors"
)

const (
	// rtuExtra is what a frame has beside the PDU: the unit and the checksum.
	rtuExtra = 3
	// babble is more than a request and its answers can be: what sends so much is not a unit.
	babble = 1024
	// endOfFrame is the silence after which no more of a frame comes. USB adapters hand over what they receive every 16 ms.
	endOfFrame = 50 * time.Millisecond
)

// serialPort is an open serial port. Its Read returns os.ErrDeadlineExceeded when nothing came until the deadline.
type serialPort interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
	// ResetInputBuffer throws away what came in and was not read.
	ResetInputBuffer() error
}

// rtuLink is an open serial line.
type rtuLink struct {
	port serialPort
	char time.Duration // how long one character takes
}

var _ link = (*rtuLink)(nil)

// characterTime returns how long a character takes: a start bit, eight of data, parity and stop bits (Serial Line V1.02, section 2.5.1).
func characterTime(a address) time.Duration {
	bits := 1 + 8 + a.stopBits
	if a.parity != "none" {
		bits++
	}
	return time.Duration(bits) * time.Second / time.Duration(a.baud)
}

// quiet is 3.5 characters, and fixed above 19200 baud (section 2.5.1.1).
func (l *rtuLink) quiet() time.Duration { return max(l.char*7/2, 1750*time.Microsecond) }

// Close closes the port.
func (l *rtuLink) Close() error { return l.port.Close() }

// exchange looks for an answer in all that comes until the time is up: noise, an echo and late answers of others may be before it.
func (l *rtuLink) exchange(unit byte, q query, within time.Duration) ([]byte, error) {
	if err := l.port.ResetInputBuffer(); err != nil {
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	frame := rtuFrame(unit, q.pdu())
	e := &ear{unit: unit, query: q, echo: frame}
	deadline := time.Now().Add(time.Duration(len(frame)+e.full())*l.char + within)
	if err := l.port.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	if _, err := l.port.Write(frame); err != nil {
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	var buf [256]byte
	for {
		n, err := l.port.Read(buf[:])
		if data, found, err := e.hear(buf[:n]); found {
			return data, err
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, e.verdict(within)
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errLost, err)
		case len(e.got) > babble:
			return nil, e.verdict(within)
		case len(e.got) >= e.full():
			if soon := time.Now().Add(endOfFrame); soon.Before(deadline) {
				err = l.port.SetDeadline(soon)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errLost, err)
		}
	}
}

// rtuFrame puts a request into its frame.
func rtuFrame(unit byte, pdu []byte) []byte {
	f := append([]byte{unit}, pdu...)
	crc := crc16(f)
	return append(f, byte(crc), byte(crc>>8))
}

// ear finds the answer to a query in what comes over the line.
type ear struct {
	query

	unit byte
	echo []byte // the request, nil when its echo was heard
	got  []byte
}

// full returns how long the frame of the answer is.
func (e *ear) full() int { return rtuExtra + 2 + e.size() }

// hear takes what came and returns the answer as soon as there is one. The echo of a request may have the form of an answer to it, so the
// first frame that is the same as the request is never taken for one.
func (e *ear) hear(b []byte) (data []byte, found bool, err error) {
	e.got = append(e.got, b...)
	if i := bytes.Index(e.got, e.echo); len(e.echo) > 0 && i >= 0 {
		e.got, e.echo = e.got[i+len(e.echo):], nil
	}
	for i := range e.got {
		pdu, ok := intact(e.got[i:], e.unit)
		if !ok {
			continue
		}
		data, err := e.data(pdu)
		if errors.Is(err, errMisfit) {
			continue // late, to another request
		}
		return data, true, err
	}
	return nil, false, nil
}

// intact returns the PDU of the frame of that unit that b begins with, if it is whole and its checksum is right.
func intact(b []byte, unit byte) (pdu []byte, ok bool) {
	const exceptionSize = 5
	if len(b) < exceptionSize || b[0] != unit {
		return nil, false
	}
	n := exceptionSize
	if b[1]&exceptionFlag == 0 {
		n = rtuExtra + 2 + int(b[2])
	}
	if len(b) < n {
		return nil, false
	}
	crc := crc16(b[:n-2])
	if b[n-2] != byte(crc) || b[n-1] != byte(crc>>8) {
		return nil, false
	}
	return b[1 : n-2], true
}

// verdict says what is wrong when no answer was found.
func (e *ear) verdict(within time.Duration) error {
	const shown = 16
	switch other, heard := e.other(); {
	case len(e.got) == 0:
		return fmt.Errorf("no answer within %s: %w", within, sensors.ErrTimeout)
	case heard:
		return fmt.Errorf("%w within %s: unit %d was asked, and heard was % x from unit %d: %w",
			errMisfit, within, e.unit, e.got[:min(len(e.got), shown)], other, sensors.ErrTimeout)
	default:
		return fmt.Errorf("%d bytes without a whole answer, % x: baud and parity, noise, two units with one address: %w",
			len(e.got), e.got[:min(len(e.got), shown)], sensors.ErrChecksum)
	}
}

// other returns the unit of an intact frame that was no answer.
func (e *ear) other() (unit byte, ok bool) {
	for i, u := range e.got {
		if _, ok := intact(e.got[i:], u); ok {
			return u, true
		}
	}
	return 0, false
}

// crc16 is the checksum of a frame (Serial Line V1.02, appendix B): polynomial 0xa001, lowest bit first, from 0xffff.
func crc16(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, x := range b {
		crc ^= uint16(x)
		for range 8 {
			low := crc & 1
			crc >>= 1
			if low != 0 {
				crc ^= 0xa001
			}
		}
	}
	return crc
}
