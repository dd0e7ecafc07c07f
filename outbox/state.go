package outbox

import (
	"encoding/binary"
	"fmt"
	"time"
)

// state is the summary that control.db keeps. It is written whole, so that writing it again after a failure is always right.
type state struct {
	// epoch, lanes and maxLoss are the unclean-stop marker: a process of that epoch works, and has put messages that were not fsynced at
	// once into these lanes. epoch is 0 after a clean stop.
	epoch   uint64
	lanes   [lanes]bool
	maxLoss time.Duration

	deadDropped uint64
	order       uint64 // of the newest segment there ever was
	lane        [lanes]laneState
}

type laneState struct {
	head uint64 // everything before is done
	done spans  // done too
	// removed is how much is done of what lies in the segments of the catalog.
	removed tally
}

// tally counts messages, their body bytes and their readings.
type tally struct{ messages, bytes, readings uint64 }

func (t *tally) add(o tally) {
	t.messages += o.messages
	t.bytes += o.bytes
	t.readings += o.readings
}

// sub never goes below zero: a count that damage made wrong must not wrap.
func (t *tally) sub(o tally) {
	t.messages -= min(t.messages, o.messages)
	t.bytes -= min(t.bytes, o.bytes)
	t.readings -= min(t.readings, o.readings)
}

const stateVersion = 1

func (s *state) encode() []byte {
	mask := uint64(0)
	for i, on := range s.lanes {
		if on {
			mask |= 1 << i
		}
	}
	b := appendNumbers(nil, s.epoch, mask, uint64(s.maxLoss), s.deadDropped, s.order)
	for i := range s.lane {
		l := &s.lane[i]
		b = appendNumbers(b, l.head, l.removed.messages, l.removed.bytes, l.removed.readings, uint64(len(l.done)))
		for _, x := range l.done {
			b = appendNumbers(b, x.from, x.to-x.from)
		}
	}
	return seal(stateVersion, nil, b)
}

func decodeState(b []byte) (s state, err error) {
	body, err := unseal(stateVersion, nil, b)
	if err != nil {
		return s, fmt.Errorf("state: %w", err)
	}
	r := numbers{rest: body}
	s.epoch = r.next()
	mask := r.next()
	s.maxLoss = time.Duration(r.next())
	s.deadDropped, s.order = r.next(), r.next()
	for i := range s.lane {
		l := &s.lane[i]
		s.lanes[i] = mask&(1<<i) != 0
		r.into(&l.head, &l.removed.messages, &l.removed.bytes, &l.removed.readings)
		for range r.count(2) {
			from := r.next()
			x := span{from, from + r.next()}
			if n := len(l.done); x.to < x.from || n > 0 && x.from <= l.done[n-1].to {
				r.bad = true
				break
			}
			l.done = append(l.done, x)
		}
	}
	if r.bad || len(r.rest) > 0 {
		return state{}, fmt.Errorf("state: %w", errSeal)
	}
	return s, nil
}

func bigEndian(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
