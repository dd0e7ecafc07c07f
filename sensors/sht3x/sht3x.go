package sht3x

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iotagent/sensors"
)

// command is one command and the longest it takes until its answer can be read, or the next command sent.
type command struct {
	code uint16
	wait time.Duration
}

// Commands (section 4; those for the serial number are in its note). Where the datasheet gives no time, a pause of 1 ms follows, the least
// between two commands (4.2).
const (
	stopPeriodic          = 0x3093 // "break", section 4.8
	serialNumber          = 0x3682 // without clock stretching
	serialNumberStretched = 0x3780
	softReset             = 0x30a2
	clearStatus           = 0x3041
	readStatus            = 0xf32d

	pause     = time.Millisecond
	resetTime = 2 * time.Millisecond // at most 1.5 ms, section 2.2
)

// Bits of the status (table 18).
const (
	statusHeater = 1 << 13
	statusReset  = 1 << 4
)

// measurementOf returns the single-shot command that measures with that repeatability (table 9).
func measurementOf(repeatability string) (command, bool) {
	switch repeatability {
	case "high":
		return command{0x2400, 16 * time.Millisecond}, true
	case "medium":
		return command{0x240b, 7 * time.Millisecond}, true
	case "low":
		return command{0x2416, 5 * time.Millisecond}, true
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
func (d *device) String() string { return "sht3x@" + d.bus.String() }

// send sends a command and waits as long as it takes.
func (d *device) send(ctx context.Context, c command) error {
	if err := d.bus.Tx(ctx, []byte{byte(c.code >> 8), byte(c.code)}, nil); err != nil {
		return fmt.Errorf("send command: %w", err)
	}
	if err := sensors.Wait(ctx, c.wait); err != nil {
		return fmt.Errorf("wait for the chip: %w", err)
	}
	return nil
}

// ask sends a command, waits as long as it takes and reads an answer of that many words.
func (d *device) ask(ctx context.Context, c command, words int) ([]uint16, error) {
	if err := d.send(ctx, c); err != nil {
		return nil, err
	}
	frame := make([]byte, words*wordSize)
	if err := d.bus.Tx(ctx, nil, frame); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return parse(frame)
}

// setUp ends what another program started, identifies the chip and resets it.
func (d *device) setUp(ctx context.Context) error {
	if err := d.send(ctx, command{stopPeriodic, pause}); err != nil {
		return fmt.Errorf("stop periodic measurement: %w", err)
	}
	if err := d.identify(ctx); err != nil {
		return fmt.Errorf("read serial number (is this another chip?): %w", err)
	}
	if err := d.send(ctx, command{softReset, resetTime}); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	if err := d.send(ctx, command{clearStatus, pause}); err != nil {
		return fmt.Errorf("clear status: %w", err)
	}
	return nil
}

// identify holds the chip to answer with a serial number as an SHT3x does, whatever the number is. The second command is for
// chips that know no other; after the pause there is nothing left to stretch the clock for.
func (d *device) identify(ctx context.Context) error {
	_, err := d.ask(ctx, command{serialNumber, pause}, 2)
	if errors.Is(err, sensors.ErrAbsent) {
		_, err = d.ask(ctx, command{serialNumberStretched, pause}, 2)
	}
	return err
}

var errHeated = errors.New("the heater was on, switched on by another program: the values would be too warm and too dry")

// ensureSetUp sets the chip up anew when it was reset, or is being heated: then there are no values until it had time to cool down.
func (d *device) ensureSetUp(ctx context.Context) error {
	status, err := d.ask(ctx, command{readStatus, pause}, 1)
	if err != nil {
		return fmt.Errorf("read status: %w", err)
	}
	if status[0]&(statusReset|statusHeater) == 0 {
		return nil
	}
	if err := d.setUp(ctx); err != nil {
		return err
	}
	if status[0]&statusHeater != 0 {
		return errHeated
	}
	return nil
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
	words, err := d.ask(ctx, d.measurement, 2)
	if err != nil {
		return nil, fmt.Errorf("measure: %w", err)
	}
	return scale(words[0], words[1])
}

// Halt has nothing to do: the chip idles after each measurement, also after one whose answer nobody read.
func (d *device) Halt() error { return nil }
