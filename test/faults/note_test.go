package faults

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"

	"iotagent/outbox"
)

// note is a line that the worker writes to its standard output: what it is about to do, or what came of it.
type note struct {
	What what  `json:"w"`
	At   int64 `json:"at"` // wall time in ns
	// Call numbers the puts and syncs: "putting" and "put" of one call have the same.
	Call  uint64       `json:"c,omitempty"`
	Epoch uint64       `json:"e,omitempty"`
	IDs   []outbox.ID  `json:"i,omitempty"`
	First uint64       `json:"f,omitempty"` // the number of the first message of a put; the others follow
	Safe  bool         `json:"s,omitempty"` // a put that returns when it is fsynced
	Error string       `json:"x,omitempty"`
	Gaps  []outbox.Gap `json:"g,omitempty"`
}

type what string

const (
	opened    what = "opened"
	putting   what = "putting"
	put       what = "put"
	notSafe   what = "not safe" // a put that returned ErrNotDurable
	refused   what = "refused"  // a put that returned another error
	gaps      what = "gaps"     // handed out, not yet acknowledged
	acking    what = "acking"
	acked     what = "acked"
	rejecting what = "rejecting"
	rejected  what = "rejected"
	syncing   what = "syncing"
	synced    what = "synced"
	closing   what = "closing"
	closed    what = "closed"
	unclosed  what = "unclosed" // Close returned an error
	degraded  what = "degraded"
	healed    what = "healed"
	beat      what = "beat"  // every beatEvery
	wrong     what = "wrong" // the outbox did what it must not do
)

const beatEvery = 10 * time.Millisecond

func (n *note) time() time.Time { return time.Unix(0, n.At) }

// line is the note as it is written, in one piece.
func (n *note) line() []byte {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // numbers and strings
	}
	return append(b, '\n')
}

func parseNote(line []byte) (note, error) {
	var n note
	err := json.Unmarshal(line, &n)
	return n, err
}

// body makes message number n: its number, a filler that compresses or does not, and a checksum.
func body(n uint64, size int, r *rand.Rand) []byte {
	if r.IntN(2) == 0 {
		return seal(n, bytes.Repeat([]byte("21.5 degrees, "), size/14))
	}
	var filler []byte
	for range size / 8 {
		filler = binary.BigEndian.AppendUint64(filler, r.Uint64())
	}
	return seal(n, filler)
}

func seal(n uint64, filler []byte) []byte {
	b := append(binary.BigEndian.AppendUint64(nil, n), filler...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// number checks a body and returns which message it is of.
func number(b []byte) (uint64, error) {
	if len(b) < 12 {
		return 0, fmt.Errorf("a body of %d bytes", len(b))
	}
	data, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(data) != sum {
		return 0, errors.New("a body that was changed")
	}
	return binary.BigEndian.Uint64(data), nil
}
