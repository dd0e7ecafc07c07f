package tsl2591

import (
	"context"
	"fmt"
	"time"

	"iotagent/sensors"
)

// address is the only one that the chip has.
const address = 0x29

// Registers (table "Register Map"), and what is sent with their address.
const (
	command    = 0xa0
	regEnable  = 0x00
	regControl = 0x01
	regID      = 0x12
	regStatus  = 0x13 // the four bytes of data follow

	chipID    = 0x50
	powerOn   = 1 << 0
	measuring = 1 << 1
	valid     = 1 << 0 // of the status: a measurement is over
)

const (
	pollEvery = 5 * time.Millisecond
	polls     = 5 // looks before the chip is given up
)

// device is one opened chip.
type device struct {
	bus       *sensors.I2CDev
	steps     int // of the integration time
	raw       bool
	low, high gain // those that may be taken
	gain      gain // of the last measurement
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "tsl2591@" + d.bus.String() }

// identify holds the chip to have the right id, and switches it off.
func (d *device) identify(ctx context.Context) error {
	var id [1]byte
	if err := d.bus.Tx(ctx, []byte{command | regID}, id[:]); err != nil {
		return fmt.Errorf("read chip id: %w", err)
	}
	if id[0] != chipID {
		return fmt.Errorf("the chip id is 0x%02x, want 0x%02x; is this another chip, or a loose wire? %w", id[0], chipID, sensors.ErrAbsent)
	}
	return d.write(ctx, regEnable, 0)
}

func (d *device) write(ctx context.Context, reg, value byte) error {
	if err := d.bus.Tx(ctx, []byte{command | reg, value}, nil); err != nil {
		return fmt.Errorf("write register 0x%02x: %w", reg, err)
	}
	return nil
}

// Read makes one measurement, and others when the gain does not suit the light.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	l, err := d.search(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	samples, err := l.samples(d.raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

// search measures until the gain suits the light or there is no other. It does not go up again after it went down, so that light that
// flickers cannot hold it up.
func (d *device) search(ctx context.Context) (light, error) {
	high := d.high
	for {
		l, err := d.measure(ctx)
		switch {
		case err != nil:
			return light{}, err
		case l.saturated() && d.gain > d.low:
			d.gain--
			high = d.gain
		case l.dim() && d.gain < high:
			d.gain++
		default:
			return l, nil
		}
	}
}

// measure switches the chip on, waits for one measurement and switches it off.
func (d *device) measure(ctx context.Context) (light, error) {
	control := byte(d.gain)<<4 | byte(d.steps-1)
	for _, w := range [][2]byte{{regEnable, powerOn}, {regControl, control}, {regEnable, powerOn | measuring}} {
		if err := d.write(ctx, w[0], w[1]); err != nil {
			return light{}, err
		}
	}
	data, err := d.await(ctx)
	if err != nil {
		return light{}, err
	}
	return decode(data, d.gain, d.steps), d.write(ctx, regEnable, 0)
}

// await waits for the end of the measurement and returns its data.
func (d *device) await(ctx context.Context) ([4]byte, error) {
	wait := time.Duration(d.steps) * step * 6 / 5
	for range polls {
		if err := sensors.Wait(ctx, wait); err != nil {
			return [4]byte{}, fmt.Errorf("wait for the measurement: %w", err)
		}
		var r [5]byte
		if err := d.bus.Tx(ctx, []byte{command | regStatus}, r[:]); err != nil {
			return [4]byte{}, fmt.Errorf("read data: %w", err)
		}
		if r[0]&valid != 0 {
			return [4]byte(r[1:]), nil
		}
		wait = pollEvery
	}
	return [4]byte{}, fmt.Errorf("the chip does not finish its measurement (did it lose its power?): %w", sensors.ErrTimeout)
}

// Halt switches the chip off. After a measurement it is; this ends one that was broken off.
func (d *device) Halt() error {
	if err := d.bus.Write([]byte{command | regEnable, 0}); err != nil {
		return fmt.Errorf("%s: switch off: %w", d, err)
	}
	return nil
}
