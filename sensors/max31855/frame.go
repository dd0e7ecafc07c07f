package max31855

import (
	"errors"
	"fmt"

	"iotagent/sensors"
)

// frame is what the chip sends (table 2), the first bit in the highest place.
type frame uint32

// Bits of the frame.
const (
	reserved = 1<<17 | 1<<3 // always 0
	anyFault = 1 << 16
	toSupply = 1 << 2
	toGround = 1 << 1
	open     = 1 << 0
	faults   = toSupply | toGround | open
)

// Errors that say what is wrong with the thermocouple, not with the chip.
var (
	errOpen     = errors.New("the thermocouple is open: it, its extension or a terminal is broken or not connected")
	errGround   = errors.New("the thermocouple touches ground: insulate its tip, or use an insulated one")
	errSupply   = errors.New("the thermocouple touches the supply")
	errRange    = errors.New("outside the range")
	errNoSignal = fmt.Errorf("no chip answers, check wiring and chip select: %w", sensors.ErrAbsent)
)

// check tells a frame of the chip from what other chips, none or noise give.
func (f frame) check() error {
	switch {
	case f == 0 || f == 0xffffffff:
		return fmt.Errorf("every bit reads %d: %w", f&1, errNoSignal)
	case f&reserved != 0:
		return fmt.Errorf("the frame 0x%08x has bits that are never set; is this another chip? %w", uint32(f), sensors.ErrAbsent)
	case (f&anyFault != 0) != (f&faults != 0):
		return fmt.Errorf("the frame 0x%08x contradicts itself: %w", uint32(f), sensors.ErrChecksum)
	default:
		return nil
	}
}

// fault says what is wrong with the thermocouple.
func (f frame) fault() error {
	switch {
	case f&open != 0:
		return errOpen
	case f&toGround != 0:
		return errGround
	case f&toSupply != 0:
		return errSupply
	default:
		return nil
	}
}

// thermocouple is in °C: 14 bits with a sign, of 0.25 each.
func (f frame) thermocouple() float64 { return float64(int32(f)>>18) * 0.25 }

// coldJunction is in °C: 12 bits with a sign, of 0.0625 each.
func (f frame) coldJunction() float64 { return float64(int32(f<<16)>>20) * 0.0625 }

// kind is a kind of thermocouple, with the range that the chip has for it (table 1).
type kind struct {
	letter string
	min    float64
	max    float64
}

func kindOf(letter string) (kind, bool) {
	for _, k := range []kind{
		{"K", -200, 1350}, {"J", -40, 750}, {"N", -200, 1300}, {"T", -250, 400}, {"E", -40, 900}, {"S", -50, 1600}, {"R", -50, 1770},
	} {
		if k.letter == letter {
			return k, true
		}
	}
	return kind{}, false
}

// samples turns a frame that was checked into values.
func (k kind) samples(f frame) ([]sensors.Sample, error) {
	if err := f.fault(); err != nil {
		return nil, err
	}
	t, cold := f.thermocouple(), f.coldJunction()
	switch {
	case cold < -40 || cold > 125:
		return nil, fmt.Errorf("cold junction at %g °C, want -40..125: %w", cold, errRange)
	case t < k.min || t > k.max:
		return nil, fmt.Errorf("%g °C, want %g..%g for a thermocouple of kind %s: %w", t, k.min, k.max, k.letter, errRange)
	}
	return []sensors.Sample{{Name: "temperature_celsius", Value: t}, {Name: "cold_junction_celsius", Value: cold}}, nil
}
