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

// A record in a block: uvarint distance to the place before it (0 for the first), uvarint flags<<1 with the lowest bit set when a
// span follows, varint distance to the time before it (0 for the first), uvarint readings, uvarint span, uvarint length, body.
func appendRecord(b []byte, r *Record, pos uint64, put int64) []byte {
	b = binary.AppendUvarint(b, r.Pos-pos)
	flags := uint64(r.Flags) << 1
	if r.Span > 0 {
		flags |= 1
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendVarint(b, r.Put-put)
	b = binary.AppendUvarint(b, uint64(r.Readings))
	if r.Span > 0 {
		b = binary.AppendUvarint(b, r.Span)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Body)))
	return append(b, r.Body...)
}

// recordReader takes records off a block's raw form, and remembers whether it was sound so far.
type recordReader struct {
	b    []byte
	pos  uint64
	put  int64
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

// next decodes a record. Its body is part of the block's raw form.
func (d *recordReader) next(r *Record) bool {
	d.pos += d.uvarint()
	flags := d.uvarint()
	d.put += d.varint()
	readings := d.uvarint()
	span := uint64(0)
	if flags&1 != 0 {
		span = d.uvarint()
		d.fail = d.fail || span == 0
	}
	n := d.uvarint()
	if d.fail || flags > 0x1FF || readings > 1<<32-1 || n > uint64(len(d.b)) {
		d.fail = true
		return false
	}
	*r = Record{Pos: d.pos, Put: d.put, Flags: byte(flags >> 1), Readings: uint32(readings), Span: span, Body: d.b[:n:n]}
	d.b = d.b[n:]
	return true
}

// decodeRecords returns the records of a block whose raw form is given, once they agree with its header.
func decodeRecords(h *header, raw []byte) ([]Record, error) {
	d := recordReader{b: raw, pos: h.first, put: h.put}
	recs := make([]Record, h.count)
	readings, last := uint64(0), uint64(0)
	for i := range recs {
		r := &recs[i]
		if !d.next(r) || i > 0 && r.Pos <= last {
			return nil, boltfile.Damaged("record %d of %d is not sound", i+1, h.count)
		}
		last = r.Pos
		readings += uint64(r.Readings)
	}
	if len(d.b) > 0 || last != h.last || recs[0].Pos != h.first || readings != h.readings {
		return nil, boltfile.Damaged("records of a block are not those its header names")
	}
	return recs, nil
}
