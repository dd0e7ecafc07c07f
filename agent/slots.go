package agent

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"iotagent/internal/clock"
)

// Slots are the places of a body whose text is known only when the message is sent: the times of readings that were taken while nobody vouched for the wall clock.
// They are as wide as the longest text, so that a message has its size from the beginning. What they are filled with depends on nothing but the
// envelope and the anchor of its boot, which stays what it is; so a message that is sent again has the same bytes.
type Slots struct {
	// Boot is the boot that all of it was taken in.
	Boot string
	// Created is when the message was sealed, as a time since that boot; 0 where Envelope.Created says it.
	Created time.Duration
	// At are the places, in their order.
	At []Slot
}

// Slot is one place.
type Slot struct {
	// Offset is where it begins in the body.
	Offset int
	// Kind says how the time is written.
	Kind SlotKind
	// Mono is the moment, as a time since boot.
	Mono time.Duration
}

// SlotKind is a way to write a time. Its number lies in the outbox: it never changes its meaning or its width.
type SlotKind byte

const (
	// slotJSON is members of a JSON object:
	//
	//	"time":"2026-11-22T10:00:00.000Z","clock":"restored"
	//	"time":"2026-11-22T10:00:00.000Z","clock":"unconfirmed"
	//	"clock":"unknown","uptime_seconds":12345.678
	slotJSON SlotKind = 1
	// slotSenML is members of a SenML record:
	//
	//	"bt":1795341600.000,"clock":"restored"
	//	"bt":1795341600.000,"clock":"unconfirmed"
	//	"bt":12345.678,"clock_":"unknown"
	slotSenML SlotKind = 2
)

// width is 0 for a kind that is not known.
func (k SlotKind) width() int {
	switch k {
	case slotJSON:
		return len(`"time":"2006-01-02T15:04:05.000Z","clock":"unconfirmed"`)
	case slotSenML:
		return len(`"bt":1795341600.000,"clock":"unconfirmed"`)
	}
	return 0
}

// append writes a time by its anchor, nil when there is none.
func (k SlotKind) append(b []byte, mono time.Duration, a *clock.Anchor) []byte {
	known := a != nil && a.Source != clock.Unknown
	mark := clockRestored
	if known && !a.Source.Sure() {
		mark = clockUnconfirmed
	}
	switch {
	case k == slotSenML && known:
		return appendMarkedBase(append(b, `"bt":`...), a.Time(mono), mark)
	case k == slotSenML:
		return appendUnknownBase(append(b, `"bt":`...), mono)
	case known:
		return appendMarked(b, a.Time(mono), mark)
	}
	return appendUnknown(b, mono)
}

// What "clock" says of a reading; it is absent where the time is that of a wall clock which was right.
const (
	clockRestored    = "restored"
	clockUnconfirmed = "unconfirmed"
	clockUnknown     = "unknown"
)

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, `"time":"`...)
	b = t.UTC().AppendFormat(b, timeLayout)
	return append(b, '"')
}

func appendMarked(b []byte, t time.Time, mark string) []byte {
	b = append(appendTime(b, t), `,"clock":"`...)
	return append(append(b, mark...), '"')
}

func appendUnknown(b []byte, mono time.Duration) []byte {
	b = append(b, `"clock":"`+clockUnknown+`","uptime_seconds":`...)
	return strconv.AppendFloat(b, mono.Seconds(), 'f', 3, 64)
}

// blank appends an empty slot and takes note of it.
func (k SlotKind) blank(b []byte, mono time.Duration, slots *[]Slot) []byte {
	*slots = append(*slots, Slot{Offset: len(b), Kind: k, Mono: mono})
	for range k.width() {
		b = append(b, ' ')
	}
	return b
}

// find returns nil where nothing is known.
func (s *Slots) find(mono time.Duration, known *clock.Anchors) *clock.Anchor {
	a, ok := known.Find(s.Boot, mono)
	if !ok {
		return nil
	}
	return &a
}

// fill writes the times that are known into a copy of the body.
func (s *Slots) fill(body []byte, known *clock.Anchors) []byte {
	body = slices.Clone(body)
	var space [64]byte
	for _, x := range s.At {
		place := body[x.Offset : x.Offset+x.Kind.width()]
		n := copy(place, x.Kind.append(space[:0], x.Mono, s.find(x.Mono, known)))
		for i := range place[n:] {
			place[n+i] = ' '
		}
	}
	return body
}

// settle fills the slots of an envelope that has some.
func (e *Envelope) settle(known *clock.Anchors) {
	s := e.Slots
	if s == nil {
		return
	}
	e.Body, e.Slots = s.fill(e.Body, known), nil
	if s.Created == 0 {
		return
	}
	if a := s.find(s.Created, known); a != nil && a.Source != clock.Unknown {
		e.Created = a.Time(s.Created).UTC()
	}
}

// encode appends the slots: the boot, the time of sealing, and of each place the distance from the end of the one before, its kind and its moment. Moments
// are in microseconds.
func (s *Slots) encode(b []byte) []byte {
	b = appendText(b, s.Boot)
	b = binary.AppendUvarint(b, uint64(s.Created.Microseconds()))
	b = binary.AppendUvarint(b, uint64(len(s.At)))
	end := 0
	for _, x := range s.At {
		b = binary.AppendUvarint(b, uint64(x.Offset-end))
		b = append(b, byte(x.Kind))
		b = binary.AppendUvarint(b, uint64(x.Mono.Microseconds()))
		end = x.Offset + x.Kind.width()
	}
	return b
}

// slots is the inverse of encode.
func (r *envelopeReader) slots() *Slots {
	s := &Slots{Boot: r.text(), Created: r.micros()}
	n := r.uvarint()
	if n > uint64(len(r.rest)) { // each takes three bytes and more
		r.bad = true
		return s
	}
	s.At = make([]Slot, 0, n)
	end := 0
	for range n {
		distance, kind := r.uvarint(), SlotKind(r.byte())
		x := Slot{Offset: end + int(min(distance, maxEnvelopeBody)), Kind: kind, Mono: r.micros()}
		if kind.width() == 0 || x.Offset > maxEnvelopeBody {
			r.bad = true
		}
		if r.bad {
			return s
		}
		s.At = append(s.At, x)
		end = x.Offset + kind.width()
	}
	return s
}

// maxEnvelopeBody is above what any body has.
const maxEnvelopeBody = 1 << 30

// check refuses slots that do not lie in the body.
func (s *Slots) check(body []byte) error {
	if n := len(s.At); n > 0 {
		if last := s.At[n-1]; last.Offset+last.Kind.width() > len(body) {
			return fmt.Errorf("%w: a slot outside of the body", errEnvelope)
		}
	}
	return nil
}

// micros reads a time since boot.
func (r *envelopeReader) micros() time.Duration {
	v := r.uvarint()
	if v > 1<<52 { // 142 years
		r.bad = true
		return 0
	}
	return time.Duration(v) * time.Microsecond
}

func (r *envelopeReader) byte() byte {
	if len(r.rest) == 0 || r.bad {
		r.bad, r.rest = true, nil
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}
