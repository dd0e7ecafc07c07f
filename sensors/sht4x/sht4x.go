package sht4x

import (
	"context"
	"fmt"
	"time"

	"iotagent/sensors"
)

// command is one command ("Command Overview") and the longest it takes until the answer can be read.
type command struct {
	code byte
	wait time.Duration
}

// serialNumber is answered with two words, as measurements are. The datasheet has no time for it.
const (
	serialNumber     = 0x89
	serialNumberTime = 10 * time.Millisecond
)

// measurementOf returns the command that measures with that repeatability.
func measurementOf(repeatability string) (command, bool) {
	switch repeatability {
	case "high":
		return command{0xfd, 10 * time.Millisecond}, true
	case "medium":
		return command{0xf6, 5 * time.Millisecond}, true
	case "low":
		return command{0xe0, 2 * time.Millisecond}, true
	default:
		return command{}, false
	}
}

// device is one opened chip.
type device struct {
	bus         *sensors.I2CDev
	measurement command
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "sht4x@" + d.bus.String() }

// ask sends a command, waits as long as it takes and reads the answer.
func (d *device) ask(ctx context.Context, c command) (answer, error) {
	if err := d.bus.Tx(ctx, []byte{c.code}, nil); err != nil {
		return answer{}, fmt.Errorf("send command: %w", err)
	}
	if err := sensors.Wait(ctx, c.wait); err != nil {
		return answer{}, fmt.Errorf("wait for the chip: %w", err)
	}
	var frame [frameSize]byte
	if err := d.bus.Tx(ctx, nil, frame[:]); err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	return parse(frame)
}

// identify holds the chip to answer with a serial number as an SHT4x does, whatever the number is.
func (d *device) identify(ctx context.Context) error {
	if _, err := d.ask(ctx, command{serialNumber, serialNumberTime}); err != nil {
		return fmt.Errorf("read serial number (is this another chip?): %w", err)
	}
	return nil
}

// Read makes one measurement.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	a, err := d.ask(ctx, d.measurement)
	if err != nil {
		return nil, fmt.Errorf("%s: measure: %w", d, err)
	}
	samples, err := a.samples()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

// Halt has nothing to do: the chip idles after each measurement, also after one whose answer nobody read.
func (d *device) Halt() error { return nil }
