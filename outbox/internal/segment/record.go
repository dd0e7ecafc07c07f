package segment

import (
	"encoding/binary"

	"iotagent/outbox/internal/boltfile"
)

// Record is one message as the outbox keeps it.
type Record struct {
	Pos      uint64 // place in the lane, rising; run<<40 | sequence number
	Put      int64  // wall milliseconds since 1970
	Flags    byte   // the caller's
	Readings uint32
	Span     uint64 // how many sequence numbers before its own it stands for (thinned), usually 0
	Body     []byte
}

// maxRecordHead bounds what a record takes beside its body: six varints.
const maxRecordHead = 10 + 2 + 10 + 5 + 10 + 5

// minRecord is the least a record takes.
const minRecord = 5

// The raw form of a block has one column after the other, since what stands in one column resembles itself, and compresses to next to
// nothing: of each record the distance to the place before it (0 for the first), its flags<<1 with the lowest bit set when a span
// follows, the distance to the time before it (0 for the first; zigzag), its readings, the span of those that have one, the length of
// the body; all as uvarints; then the bodies.
const (
	colPlace = iota
	colFlags
	colPut
	colReadings
	colSpan
	colLength
	colBody
	columns
)

// recordReader takes numbers off a block's raw form, and remembers whether it was sound so far.
type recordReader struct {
	b    []byte
	fail bool
}

func (d *recordReader) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 { // most are short
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail, n = true, 0
	}
	d.b = d.b[n:]
	return v
}

func (d *recordReader) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// decodeRecords returns the records of a block whose raw form is given, once they agree with its header.
func decodeRecords(h *header, raw []byte) ([]Record, error) {
	d := recordReader{b: raw}
	recs, lengths := make([]Record, h.count), make([]int, h.count)
	d.numbers(h, recs)
	total := 0
	for i := range lengths {
		n := d.uvarint()
		if n > uint64(len(raw)) {
			d.fail = true
			break
		}
		lengths[i] = int(n)
		total += int(n)
	}
	if d.fail || total != len(d.b) {
		return nil, boltfile.Damaged("the records of a block are not sound")
	}
	readings := uint64(0)
	for i, n := range lengths {
		r := &recs[i]
		if i > 0 && r.Pos <= recs[i-1].Pos {
			return nil, boltfile.Damaged("record %d of %d is out of order", i+1, h.count)
		}
		readings += uint64(r.Readings)
		r.Body, d.b = d.b[:n:n], d.b[n:]
	}
	if recs[len(recs)-1].Pos != h.last || readings != h.readings {
		return nil, boltfile.Damaged("records of a block are not those its header names")
	}
	return recs, nil
}

// numbers decodes all columns before the lengths.
func (d *recordReader) numbers(h *header, recs []Record) {
	pos, put := h.first, h.put
	for i := range recs {
		pos += d.uvarint()
		recs[i].Pos = pos
	}
	d.fail = d.fail || recs[0].Pos != h.first
	for i := range recs {
		flags := d.uvarint()
		d.fail = d.fail || flags > 0x1FF
		recs[i].Flags, recs[i].Span = byte(flags>>1), flags&1
	}
	for i := range recs {
		put += d.varint()
		recs[i].Put = put
	}
	for i := range recs {
		n := d.uvarint()
		d.fail = d.fail || n > 1<<32-1
		recs[i].Readings = uint32(n)
	}
	for i := range recs {
		if recs[i].Span != 0 {
			recs[i].Span = d.uvarint()
			d.fail = d.fail || recs[i].Span == 0
		}
	}
}
