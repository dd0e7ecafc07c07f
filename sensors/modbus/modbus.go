package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"iotagent/sensors"
)

// device is one unit on a line.
type device struct {
	line     *line
	giveBack func() error

	unit        byte
	within, gap time.Duration
	registers   []Register
	blocks      []block
}

var _ sensors.Sensor = (*device)(nil)

// String names the unit.
func (d *device) String() string { return fmt.Sprintf("modbus@%s unit %d", d.line.addr, d.unit) }

// Halt gives the line back.
func (d *device) Halt() error { return d.giveBack() }

// Read asks for every register. What the unit refuses, or has no value for, is left out of the samples and told.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	samples := make([]sensors.Sample, len(d.registers))
	var refused []error
	for _, b := range d.blocks {
		data, err := d.line.ask(ctx, request{unit: d.unit, query: b.query, within: d.within, gap: d.gap})
		if isRefusal(err) {
			refused = append(refused, fmt.Errorf("%s: %w", b.query, err))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", d, b.query, err)
		}
		for _, m := range b.members {
			r := &d.registers[m.index]
			v, err := b.value(r, data, m.offset)
			if err != nil {
				refused = append(refused, err)
				continue
			}
			samples[m.index] = sensors.Sample{Name: r.Name, Value: v}
		}
	}
	samples = slices.DeleteFunc(samples, func(s sensors.Sample) bool { return s.Name == "" })
	samples, err := sensors.Incomplete(samples, refused)
	if err != nil {
		return samples, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

// isRefusal reports whether the unit itself refused these registers and may well give others. That it is busy (5 and 6) passes: such a reading fails
// and may be tried again, as retries says; and 10 and 11 are a gateway's, about the whole unit.
func isRefusal(err error) bool {
	e, ok := errors.AsType[ExceptionError](err)
	return ok && !slices.Contains([]ExceptionError{5, 6, 10, 11}, e)
}

// value returns the value of a register that begins at offset of the block's data.
func (b *block) value(r *Register, data []byte, offset int) (float64, error) {
	if b.bits() {
		return float64(data[offset/8] >> (offset % 8) & 1), nil
	}
	return r.value(data[2*offset : 2*(offset+r.count())])
}
