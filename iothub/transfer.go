package iothub

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Telemetry transfers are written here, past the AMQP library, in the session and on the link that the library has made. The library takes each frame
// through four goroutines and waits for the transport each time; and while it waits for the session's window it heeds no context, and a context that ends in
// mid transfer leaves half a message behind. What it then does not know of is kept from it: dispositions end at the gate, and its own FLOWs are mended.

// errNoLink says that the telemetry link was lost before a frame could be written.
var errNoLink = errors.New("telemetry link lost")

// transferHead is more than a transfer frame has besides its part of the message.
const transferHead = 48

// send writes the next frame of a message on the telemetry link of that name and returns what is left of the message.
func (w *wire) send(link string, format uint32, message []byte, first bool) (rest []byte, err error) {
	err = w.out.put(func(to []byte) ([]byte, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		l := w.direct
		if l == nil || l.name != link || l.gone {
			return nil, errNoLink
		}
		n := min(len(message), w.frame-transferHead)
		id := l.next(first)
		to = appendTransfer(to, &transferFrame{
			channel: l.s.channel, handle: l.handle, id: id, first: first, format: format, more: n < len(message), payload: message[:n],
		})
		rest = message[n:]
		l.gate.written(l.s.nextOutgoing, id, first, false)
		return to, nil
	})
	return rest, err
}

// next counts a frame of ours and returns the id of its delivery.
func (l *end) next(first bool) uint32 {
	l.s.nextOutgoing++
	if first {
		l.s.nextSent++
		l.count++
	}
	return l.s.nextSent - 1
}

// telemetry returns the session's telemetry link, nil when there is none any more.
func (s *session) telemetry() *end {
	for _, l := range s.outgoing {
		if l.gate != nil && !l.gone {
			return l
		}
	}
	return nil
}

// transferFrame is what there is to say in a TRANSFER (AMQP 1.0 part 2 §2.7.5).
type transferFrame struct {
	channel            uint16
	handle, id, format uint32
	first, more        bool
	payload            []byte
}

// appendTransfer appends a frame. The delivery's id is its tag, too.
func appendTransfer(b []byte, f *transferFrame) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 2, 0)
	b = binary.BigEndian.AppendUint16(b, f.channel)
	b = append(b, 0, 0x53, codeTransfer, 0xc0, 0, 6) // the size comes below
	b = appendUint(b, f.handle)
	if f.first {
		b = appendUint(b, f.id)
		b = binary.BigEndian.AppendUint32(append(b, typeBinary8, 4), f.id)
		b = appendUint(b, f.format)
	} else {
		b = append(b, typeNull, typeNull, typeNull)
	}
	more := byte(0x42)
	if f.more {
		more = 0x41
	}
	b = append(b, 0x42, more) // not settled
	b[start+12] = byte(len(b) - start - 13)
	b = append(b, f.payload...)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

func appendUint(b []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0x70), n)
}

// confirmation returns the frame that settles what a peer only gave an outcome for, as receivers of settle mode second do; nil where it settled.
func confirmation(channel uint16, disposition [][]byte) []byte {
	if boolField(disposition, 3) || len(disposition) < 4 {
		return nil
	}
	fields := slices.Clone(disposition)
	fields[0], fields[3] = []byte{0x42}, []byte{0x41} // the sender's, settled
	frame := append(make([]byte, 8, 64), 0, 0x53, codeDisposition)
	frame = append(frame, encodeList(fields, false)...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)))
	frame[4] = 2
	binary.BigEndian.PutUint16(frame[6:], channel)
	return frame
}
