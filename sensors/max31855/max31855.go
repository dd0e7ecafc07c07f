package max31855

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"iotagent/sensors"
)

// conversionTime is the longest that a conversion takes ("Serial-Interface Timing", thermocouple conversion time).
const conversionTime = 100 * time.Millisecond

// device is one opened chip.
type device struct {
	bus  *sensors.SPIDev
	kind kind
	// last is when the latest frame was read. The conversion that it broke off began anew then.
	last time.Time
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "max31855@" + d.bus.String() }

// read fetches a frame, no sooner than the chip has made a conversion since the one before.
func (d *device) read(ctx context.Context) (frame, error) {
	if !d.last.IsZero() {
		if err := sensors.Wait(ctx, time.Until(d.last.Add(conversionTime))); err != nil {
			return 0, fmt.Errorf("wait for a conversion: %w", err)
		}
	}
	var w, r [4]byte
	err := d.bus.Tx(ctx, w[:], r[:])
	d.last = time.Now()
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	f := frame(binary.BigEndian.Uint32(r[:]))
	return f, f.check()
}

// Read returns the newest conversion.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	f, err := d.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	samples, err := d.kind.samples(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

// Halt does nothing: the chip converts for ever.
func (d *device) Halt() error { return nil }
