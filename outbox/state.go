package outbox

import (
	"encoding/binary"
	"errors"
)

// state is the summary that every transaction writes with what it changes, so that opening a file costs the same at any length
// and a damaged one can be compared with what it should hold.
type state struct {
	// serial rises by one with each transaction: it tells whether one that failed was applied all the same.
	serial      uint64
	dead        uint64
	deadBytes   uint64
	deadDropped uint64
	deadNext    uint64
	lane        [lanes]laneState
}

type laneState struct {
	count, bytes, readings uint64 // of the entries queued, gaps included
	head                   uint64 // no entry stands before this position
	tail                   uint64 // no position after this one was ever used
	oldest                 uint64 // put time of the entry at head, in ns since 1970
}

func (l *laneState) accounted() int64 {
	return int64(l.bytes + l.count*overhead)
}

func (l *laneState) add(r *record) {
	l.count++
	l.bytes += uint64(len(r.body))
	l.readings += uint64(r.readings)
}

func (l *laneState) remove(r *record) {
	l.count -= min(l.count, 1)
	l.bytes -= min(l.bytes, uint64(len(r.body)))
	l.readings -= min(l.readings, uint64(r.readings))
}

const (
	stateVersion = 1
	stateLen     = 1 + 8*(5+6*lanes) + 4
)

var errState = errors.New("damaged state record")

func (s *state) fields() []*uint64 {
	f := []*uint64{&s.serial, &s.dead, &s.deadBytes, &s.deadDropped, &s.deadNext}
	for i := range s.lane {
		l := &s.lane[i]
		f = append(f, &l.count, &l.bytes, &l.readings, &l.head, &l.tail, &l.oldest)
	}
	return f
}

func (s *state) encode() []byte {
	b := make([]byte, 1, stateLen)
	b[0] = stateVersion
	for _, f := range s.fields() {
		b = binary.BigEndian.AppendUint64(b, *f)
	}
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

func decodeState(b []byte) (state, error) {
	var s state
	if len(b) != stateLen || b[0] != stateVersion || binary.BigEndian.Uint32(b[stateLen-4:]) != checksum(b[:stateLen-4]) {
		return s, errState
	}
	for i, f := range s.fields() {
		*f = binary.BigEndian.Uint64(b[1+8*i:])
	}
	return s, nil
}
