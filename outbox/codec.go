package outbox

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// What control.db holds is sealed: a CRC-32C over the key and the rest in front, since bbolt has no checksum for its pages, then a version
// byte, then numbers as varints. The keys of the state and of dead letters do not matter and are left out.

var errSeal = errors.New("checksum or version does not fit")

func seal(version byte, key, body []byte) []byte { //nolint:unparam // each kind of record has a version of its own
	b := make([]byte, 4, 5+len(body))
	b = append(append(b, version), body...)
	binary.BigEndian.PutUint32(b, crc32.Update(checksum(key), crc32.MakeTable(crc32.Castagnoli), b[4:]))
	return b
}

// unseal returns the body; it is part of b.
func unseal(version byte, key, b []byte) ([]byte, error) { //nolint:unparam // each kind of record has a version of its own
	if len(b) < 5 || b[4] != version || binary.BigEndian.Uint32(b) != crc32.Update(checksum(key), crc32.MakeTable(crc32.Castagnoli), b[4:]) {
		return nil, errSeal
	}
	return b[5:], nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func appendNumbers(b []byte, ns ...uint64) []byte {
	for _, n := range ns {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// numbers reads varints one after the other; after the first that is cut short it gives zeros and bad is set.
type numbers struct {
	rest []byte
	bad  bool
}

func (r *numbers) next() uint64 {
	n, k := binary.Uvarint(r.rest)
	if k <= 0 || r.bad {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[k:]
	return n
}

// into reads as many as there are places.
func (r *numbers) into(ns ...*uint64) {
	for _, n := range ns {
		*n = r.next()
	}
}

// count reads how many follow, each of at least size bytes.
func (r *numbers) count(size int) int {
	n := r.next()
	if n > uint64(len(r.rest)/size) {
		r.bad, r.rest = true, nil
		return 0
	}
	return int(n)
}
