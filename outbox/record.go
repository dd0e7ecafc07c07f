package outbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// key is where an entry stands: positions of a lane rise for ever within a file and keep the order of the puts across epochs.
type key struct {
	lane Lane
	pos  uint64
}

const keyLen = 9

func (k key) bytes() []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(k.lane)}, k.pos)
}

func parseKey(b []byte) (key, bool) {
	if len(b) != keyLen || b[0] >= lanes {
		return key{}, false
	}
	return key{lane: Lane(b[0]), pos: binary.BigEndian.Uint64(b[1:])}, true
}

// record is one entry as the file holds it.
type record struct {
	key      key
	id       ID
	flags    byte
	readings uint32
	put      int64 // wall time in ns since 1970
	body     []byte
}

const (
	flagGap     = 1 << 0 // the body is a Gap in JSON
	flagDurable = 1 << 1

	recordVersion = 1
	recordHeader  = 4 + 1 + 1 + 8 + 8 + 4 + 8
	// overhead is what an entry costs beside its body: key, header and bbolt's own element, rounded up.
	overhead = 64
)

var errRecord = errors.New("damaged record")

func (r *record) isGap() bool { return r.flags&flagGap != 0 }

func (r *record) size() int64 { return int64(len(r.body)) + overhead }

// encode returns the value: CRC-32C over key and rest, version, flags, epoch, seq, readings, put time, body.
// bbolt has no checksum for its pages: this one is all that sees a flipped bit.
func (r *record) encode() []byte {
	b := make([]byte, 4, recordHeader+len(r.body))
	b = append(b, recordVersion, r.flags)
	b = binary.BigEndian.AppendUint64(b, r.id.Epoch)
	b = binary.BigEndian.AppendUint64(b, r.id.Seq)
	b = binary.BigEndian.AppendUint32(b, r.readings)
	b = binary.BigEndian.AppendUint64(b, uint64(r.put))
	b = append(b, r.body...)
	binary.BigEndian.PutUint32(b, checksum(r.key.bytes(), b[4:]))
	return b
}

// decode is encode's inverse. The body is part of v, not a copy.
func decode(k, v []byte) (record, error) {
	kk, ok := parseKey(k)
	if !ok || len(v) < recordHeader || binary.BigEndian.Uint32(v) != checksum(k, v[4:]) {
		return record{}, fmt.Errorf("%w at key %x", errRecord, k)
	}
	if v[4] != recordVersion {
		return record{}, fmt.Errorf("%w at key %x: version %d", errRecord, k, v[4])
	}
	return record{
		key:      kk,
		id:       ID{Epoch: binary.BigEndian.Uint64(v[6:]), Lane: kk.lane, Seq: binary.BigEndian.Uint64(v[14:])},
		flags:    v[5],
		readings: binary.BigEndian.Uint32(v[22:]),
		put:      int64(binary.BigEndian.Uint64(v[26:])),
		body:     v[recordHeader:],
	}, nil
}

// entry is the record as Next hands it out, with bodies of its own.
func (r *record) entry(sent bool) (Entry, error) {
	e := Entry{ID: r.id, First: r.id.Seq, Readings: int(min(r.readings, math.MaxInt32)), Sent: sent}
	if !r.isGap() {
		e.Body = append([]byte{}, r.body...)
		return e, nil
	}
	e.Gap = new(Gap)
	if err := json.Unmarshal(r.body, e.Gap); err != nil {
		return Entry{}, fmt.Errorf("%w at key %x: %w", errRecord, r.key.bytes(), err)
	}
	return e, nil
}

func gapRecord(k key, id ID, g Gap, now int64) record {
	body, err := json.Marshal(g)
	if err != nil { // a struct of numbers and a string cannot fail
		body = []byte("{}")
	}
	return record{key: k, id: id, flags: flagGap, put: now, body: body}
}

func checksum(parts ...[]byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := uint32(0)
	for _, p := range parts {
		sum = crc32.Update(sum, table, p)
	}
	return sum
}
