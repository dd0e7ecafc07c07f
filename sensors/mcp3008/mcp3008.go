package mcp3008

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"iotagent/sensors"
)

// A transfer: a byte that ends in the start bit, one that begins with the input's code, and three during which the value comes, forwards and
// backwards (figures 5-2 and 6-1).
const (
	frameSize = 5
	startBit  = 1
	nullBit   = 1 << 2 // of the second byte read, always 0
	steps     = 1 << 10
)

// device is one opened chip.
type device struct {
	bus      *sensors.SPIDev
	vref     float64
	allZero  bool
	channels []Channel
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "mcp3008@" + d.bus.String() }

// request is what is sent to convert an input.
func request(input string) [frameSize]byte {
	return [frameSize]byte{startBit, byte(slices.Index(inputs(), input)) << 4}
}

// decode takes the value out of what was read, 0..1023.
func decode(r [frameSize]byte) (uint16, error) {
	if r[1]&nullBit != 0 {
		return 0, fmt.Errorf("the bit before the value is 1 in % x; no chip answers, or another one: %w", r[:], sensors.ErrAbsent)
	}
	value := binary.BigEndian.Uint16(r[1:]) & (steps - 1)
	backwards := binary.BigEndian.Uint16(r[3:])
	if want := bits.Reverse16(value) << 1; backwards != want { // its lowest bit is sent once, as the end of one and the beginning of the other
		return 0, fmt.Errorf("the value %d is %04x backwards, want %04x; is this another chip, or a loose wire? %w",
			value, backwards, want, sensors.ErrChecksum)
	}
	return value, nil
}

// convert makes one conversion.
func (d *device) convert(ctx context.Context, input string) (uint16, error) {
	w, r := request(input), [frameSize]byte{}
	if err := d.bus.Tx(ctx, w[:], r[:]); err != nil {
		return 0, fmt.Errorf("%s: %w", input, err)
	}
	value, err := decode(r)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", input, err)
	}
	return value, nil
}

// identify looks at inputs until one is not at ground, which no missing chip does.
func (d *device) identify(ctx context.Context) error {
	for _, input := range grounded() {
		value, err := d.convert(ctx, input)
		if err != nil {
			return err
		}
		if value != 0 || d.allZero {
			return nil
		}
	}
	return fmt.Errorf("all eight inputs read 0 V: no chip, or no supply, answers; if they are all at ground, set all_zero = true or put a free one to VREF: %w",
		sensors.ErrAbsent)
}

// Read converts every channel once, in their order.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := d.convertAll(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

func (d *device) convertAll(ctx context.Context) ([]sensors.Sample, error) {
	samples := make([]sensors.Sample, 0, len(d.channels))
	allZero := true
	for _, c := range d.channels {
		value, err := d.convert(ctx, c.Input)
		if err != nil {
			return nil, err
		}
		allZero = allZero && value == 0
		samples = append(samples, sensors.Sample{Name: c.Name, Value: d.volts(value)})
	}
	if allZero {
		if err := d.identify(ctx); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// volts is equation 4-2, rounded to what a step can mean.
func (d *device) volts(value uint16) float64 {
	return math.Round(float64(value)*d.vref/steps*1e5) / 1e5
}

// Halt does nothing: the chip sleeps between two conversions.
func (d *device) Halt() error { return nil }
