package aht20

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iotagent/sensors"
)

// address is the only one that the chip has.
const address = 0x38

// Bits of the status (table 9), the first byte of every answer. Bit 4 has no name there, but section 7.4 wants it set, too.
const (
	statusBusy       = 1 << 7
	statusCalibrated = 1 << 3
	statusReady      = 1<<4 | statusCalibrated
)

const (
	resetTime      = 20 * time.Millisecond
	initTime       = 10 * time.Millisecond
	conversionTime = 80 * time.Millisecond
	pollEvery      = 10 * time.Millisecond // between two looks at the status
	polls          = 5                     // looks before the chip is given up
)

// device is one opened chip.
type device struct {
	bus *sensors.I2CDev
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "aht20@" + d.bus.String() }

var errNotCalibrated = errors.New("the chip has no calibration: switch its power off and on; if that does not help, it is broken or another chip")

// ensureSetUp makes the chip load its calibration, if it has not: after a bad start of its power.
func (d *device) ensureSetUp(ctx context.Context) error {
	status, err := d.idle(ctx)
	if err != nil || status&statusReady == statusReady {
		return err
	}
	if err := d.send(ctx, resetTime, 0xba); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	if err := d.send(ctx, initTime, 0xbe, 0x08, 0x00); err != nil {
		return fmt.Errorf("initialise: %w", err)
	}
	if status, err = d.idle(ctx); err != nil {
		return err
	}
	if status&statusCalibrated == 0 {
		return errNotCalibrated
	}
	return nil
}

// send sends a command and waits as long as it takes.
func (d *device) send(ctx context.Context, wait time.Duration, command ...byte) error {
	if err := d.bus.Tx(ctx, command, nil); err != nil {
		return fmt.Errorf("send command: %w", err)
	}
	if err := sensors.Wait(ctx, wait); err != nil {
		return fmt.Errorf("wait for the chip: %w", err)
	}
	return nil
}

// idle returns the status once the chip is not busy. It may be, with a measurement that nobody waited for.
func (d *device) idle(ctx context.Context) (byte, error) {
	var status [1]byte
	if err := d.poll(ctx, status[:]); err != nil {
		return 0, fmt.Errorf("read status: %w", err)
	}
	return status[0], nil
}

// poll reads an answer until its status is not busy.
func (d *device) poll(ctx context.Context, answer []byte) error {
	for i := range polls {
		if i > 0 {
			if err := sensors.Wait(ctx, pollEvery); err != nil {
				return fmt.Errorf("wait for the chip: %w", err)
			}
		}
		if err := d.bus.Tx(ctx, nil, answer); err != nil {
			return err
		}
		switch {
		case answer[0] == 0xff:
			return fmt.Errorf("every bit of the status is 1: this is another chip, or the bus is stuck: %w", sensors.ErrAbsent)
		case answer[0]&statusBusy == 0:
			return nil
		}
	}
	return fmt.Errorf("the chip stays busy: %w", sensors.ErrTimeout)
}

// Read makes one measurement.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := d.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

func (d *device) read(ctx context.Context) ([]sensors.Sample, error) {
	if err := d.ensureSetUp(ctx); err != nil {
		return nil, err
	}
	if err := d.send(ctx, conversionTime, 0xac, 0x33, 0x00); err != nil {
		return nil, fmt.Errorf("measure: %w", err)
	}
	var frame [frameSize]byte
	if err := d.poll(ctx, frame[:]); err != nil {
		return nil, fmt.Errorf("read measurement: %w", err)
	}
	return decode(frame)
}

// Halt has nothing to do: the chip idles after each measurement, also after one whose answer nobody read.
func (d *device) Halt() error { return nil }
