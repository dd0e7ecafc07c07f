package pcf8574

import (
	"context"
	"fmt"

	"iotagent/sensors"
)

// device is one opened chip.
type device struct {
	bus       *sensors.I2CDev
	name      string
	pins      int
	inputs    []input
	activeLow bool
	latch     []byte // what is written before each reading; nil for nothing
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return d.name + "@" + d.bus.String() }

// pinBytes is a bit for each pin as it goes over the bus: P0 to P7 first.
func pinBytes(bits, pins int) []byte {
	b := make([]byte, pins/8)
	for i := range b {
		b[i] = byte(bits >> (8 * i))
	}
	return b
}

// decode turns what was read into a bit for each pin.
func decode(b []byte) int {
	bits := 0
	for i, x := range b {
		bits |= int(x) << (8 * i)
	}
	return bits
}

// levels returns a bit for each pin that is high. The latch and the reading are two transactions, as the chip has its outputs changed at the
// end of the first.
func (d *device) levels(ctx context.Context) (int, error) {
	if d.latch != nil {
		if err := d.bus.Tx(ctx, d.latch, nil); err != nil {
			return 0, fmt.Errorf("write the latch: %w", err)
		}
	}
	r := make([]byte, d.pins/8)
	if err := d.bus.Tx(ctx, nil, r); err != nil {
		return 0, fmt.Errorf("read the pins: %w", err)
	}
	return decode(r), nil
}

// Read returns the inputs as they are.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	levels, err := d.levels(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	if d.activeLow {
		levels = ^levels
	}
	samples := make([]sensors.Sample, len(d.inputs))
	for i, in := range d.inputs {
		samples[i] = sensors.Sample{Name: in.sample, Value: float64(levels >> in.pin & 1)}
	}
	return samples, nil
}

// Halt does nothing: what the pins are is not to change because this program ends.
func (d *device) Halt() error { return nil }
