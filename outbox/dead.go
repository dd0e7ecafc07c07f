package outbox

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// DeadLetter is a message that the hub refused for good.
type DeadLetter struct {
	ID ID
	// Body is nil for a gap.
	Body     []byte
	Readings int
	Gap      *Gap
	// Reason is what Reject was told.
	Reason string
	// At is the wall time of the refusal, Put that of the put, to the millisecond.
	At, Put time.Time
}

// letter is a dead letter on its way to control.db. Its number is its key.
type letter struct {
	number uint64
	value  []byte
}

const (
	deadVersion = 1
	maxReason   = 1 << 10
)

// encode returns {CRC, version, lane, epoch, seq, readings, at, put, reason length, gap length, reason, gap as JSON, body}.
func (d *DeadLetter) encode() []byte {
	reason := d.Reason[:min(len(d.Reason), maxReason)]
	var gap []byte
	if d.Gap != nil {
		gap, _ = json.Marshal(d.Gap) // a struct of numbers and a string cannot fail
	}
	b := appendNumbers(nil, uint64(d.ID.Lane), d.ID.Epoch, d.ID.Seq, uint64(max(d.Readings, 0)))
	b = binary.AppendVarint(b, d.At.UnixMilli())
	b = binary.AppendVarint(b, d.Put.UnixMilli())
	b = appendNumbers(b, uint64(len(reason)), uint64(len(gap)))
	b = append(append(b, reason...), gap...)
	return seal(deadVersion, nil, append(b, d.Body...))
}

func decodeDead(v []byte) (d DeadLetter, err error) {
	body, err := unseal(deadVersion, nil, v)
	if err != nil {
		return d, fmt.Errorf("dead letter: %w", err)
	}
	r := numbers{rest: body}
	d.ID = ID{Lane: Lane(r.next()), Epoch: r.next(), Seq: r.next()}
	d.Readings = int(min(r.next(), 1<<31-1))
	d.At, d.Put = time.UnixMilli(r.signed()).UTC(), time.UnixMilli(r.signed()).UTC()
	reason, gap := r.next(), r.next()
	if r.bad || d.ID.Lane >= lanes || reason > min(maxReason, uint64(len(r.rest))) || gap > uint64(len(r.rest))-reason {
		return DeadLetter{}, fmt.Errorf("dead letter: %w", errSeal)
	}
	d.Reason = string(r.rest[:reason])
	rest := r.rest[reason:]
	if gap == 0 {
		d.Body = append([]byte{}, rest...)
		return d, nil
	}
	d.Gap = new(Gap)
	if err := json.Unmarshal(rest[:gap], d.Gap); err != nil {
		return DeadLetter{}, fmt.Errorf("dead letter: %w", err)
	}
	return d, nil
}

// letterSize is what control.db keeps of one: its number and its size.
type letterSize struct {
	number uint64
	bytes  int64
}

// trimLocked returns the numbers of the oldest letters that must go for the new ones, and counts them.
func (o *Outbox) trimLocked(fresh []letter) (gone []uint64) {
	n, size := len(o.control.letters), int64(0)
	for _, l := range o.control.letters {
		size += l.bytes
	}
	for _, l := range fresh {
		n++
		size += int64(len(l.value))
	}
	for _, l := range o.control.letters {
		if n <= max(o.opt.MaxDead, 1) && (size <= o.opt.MaxDeadBytes || n == 1) {
			break
		}
		n--
		size -= l.bytes
		gone = append(gone, l.number)
	}
	return gone
}

// DeadLetters returns up to limit letters, oldest first. Damaged ones are left out.
func (o *Outbox) DeadLetters(limit int) ([]DeadLetter, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, ErrClosed
	}
	if o.control == nil {
		return nil, fmt.Errorf("%w: the disk cannot be read: %s", ErrNotDurable, o.degraded)
	}
	var out []DeadLetter
	err := o.control.eachLetter(func(_, v []byte) bool {
		if d, err := decodeDead(v); err == nil {
			out = append(out, d)
		}
		return len(out) < limit
	})
	if err != nil {
		o.controlSick = err
		o.wake()
	}
	return out, err
}
