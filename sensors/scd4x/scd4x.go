package scd4x

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iotagent/sensors"
)

// mode is how the chip comes to measure.
type mode struct {
	name   string
	start  func() command // nil: each reading starts a measurement
	period time.Duration  // from one measurement to the next, or from the start of one to its end
}

func modeOf(name string) (mode, bool) {
	switch name {
	case "periodic":
		return mode{name, startPeriodic, 5 * time.Second}, true
	case "low-power":
		return mode{name, startLowPower, 30 * time.Second}, true
	case "single-shot":
		return mode{name, nil, 5 * time.Second}, true
	default:
		return mode{}, false
	}
}

// What the upper four bits of the variant word say.
const (
	variantSCD41 = 1
	variantSCD43 = 5
)

// pollEvery is the time between two looks whether there is a measurement.
const pollEvery = 100 * time.Millisecond

// device is one opened chip.
type device struct {
	bus      *sensors.I2CDev
	mode     mode
	settings []setting
	// due is when the next measurement is expected; long past when readings are rarer than measurements.
	due time.Time
	// warm says that the single shot after the start, which is of no use, has been made.
	warm bool
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "scd4x@" + d.bus.String() }

// setUp identifies the chip, makes its settings and starts it.
func (d *device) setUp(ctx context.Context) error {
	if err := d.identify(ctx); err != nil {
		return err
	}
	if err := d.send(ctx, reinit()); err != nil {
		return fmt.Errorf("load the chip's own settings: %w", err)
	}
	if err := d.makeSettings(ctx); err != nil {
		return err
	}
	if d.mode.start == nil {
		return nil
	}
	if err := d.send(ctx, d.mode.start()); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	d.due = time.Now().Add(d.mode.period)
	return nil
}

func (d *device) makeSettings(ctx context.Context) error {
	for _, s := range d.settings {
		if err := d.set(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// identify holds the chip to answer with a serial number, whatever it is, and to have a single shot if it is to make one. A chip that is
// measuring or asleep does not answer at first.
func (d *device) identify(ctx context.Context) error {
	_, err := d.ask(ctx, serialNumber(), 3)
	if errors.Is(err, sensors.ErrAbsent) {
		if err := d.rouse(ctx); err != nil {
			return err
		}
		_, err = d.ask(ctx, serialNumber(), 3)
	}
	if err != nil {
		return fmt.Errorf("read serial number (is this another chip?): %w", err)
	}
	if d.mode.start != nil {
		return nil
	}
	words, err := d.ask(ctx, variant(), 1)
	if err != nil {
		return fmt.Errorf("read variant: %w", err)
	}
	if v := words[0] >> 12; v != variantSCD41 && v != variantSCD43 {
		return fmt.Errorf("this chip (variant 0x%04x) has no single shot, only an SCD41 or SCD43 has: set mode = \"periodic\" or \"low-power\"", words[0])
	}
	return nil
}

// rouse wakes the chip and stops its measurements. It does not acknowledge what does not apply, so that says nothing.
func (d *device) rouse(ctx context.Context) error {
	for _, c := range []command{wakeUp(), stopPeriodic()} {
		err := d.send(ctx, c)
		if errors.Is(err, sensors.ErrAbsent) {
			err = wait(ctx, c.wait)
		}
		if err != nil {
			return fmt.Errorf("wake and stop: %w", err)
		}
	}
	return nil
}

// Read returns the newest measurement, waiting for it if there is none; in mode "single-shot" it makes one.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	var words []uint16
	var err error
	if d.mode.start == nil {
		words, err = d.shoot(ctx)
	} else {
		words, err = d.newest(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	all, err := samples(words)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return all, nil
}

// newest returns the newest measurement of a chip that makes them by itself. One that has none when it should does not measure: it lost its power,
// and is set up anew.
func (d *device) newest(ctx context.Context) ([]uint16, error) {
	ready, err := d.await(ctx)
	if err == nil && !ready {
		if err = d.setUp(ctx); err == nil {
			ready, err = d.await(ctx)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case !ready:
		return nil, fmt.Errorf("the chip was started and does not measure: %w", sensors.ErrTimeout)
	}
	words, err := d.ask(ctx, readMeasurement(), 3)
	d.due = time.Now().Add(d.mode.period)
	return words, err
}

// shoot makes one measurement, and before the first of all another, which it throws away.
func (d *device) shoot(ctx context.Context) ([]uint16, error) {
	if err := d.waitUntilDue(ctx); err != nil { // until a shot whose reading was broken off is over, the chip acknowledges nothing
		return nil, err
	}
	if err := d.makeSettings(ctx); err != nil { // it may have lost its power since
		return nil, err
	}
	if !d.warm {
		if _, err := d.shot(ctx); err != nil {
			return nil, fmt.Errorf("first measurement, which is thrown away: %w", err)
		}
		d.warm = true
	}
	return d.shot(ctx)
}

func (d *device) shot(ctx context.Context) ([]uint16, error) {
	if err := d.send(ctx, singleShot()); err != nil {
		return nil, err
	}
	d.due = time.Now().Add(d.mode.period)
	ready, err := d.await(ctx)
	switch {
	case err != nil:
		return nil, err
	case !ready:
		return nil, fmt.Errorf("the chip does not finish its measurement: %w", sensors.ErrTimeout)
	}
	return d.ask(ctx, readMeasurement(), 3)
}

// await waits until a measurement is due, and reports whether there is one at the latest a period after that.
func (d *device) await(ctx context.Context) (ready bool, err error) {
	if err := d.waitUntilDue(ctx); err != nil {
		return false, err
	}
	for {
		words, err := d.ask(ctx, dataReady(), 1)
		if err != nil {
			return false, fmt.Errorf("look for a measurement: %w", err)
		}
		if words[0]&readyMask != 0 {
			return true, nil
		}
		if time.Since(d.due) >= d.mode.period {
			return false, nil
		}
		if err := d.wait(ctx, pollEvery); err != nil {
			return false, err
		}
	}
}

func (d *device) waitUntilDue(ctx context.Context) error { return d.wait(ctx, time.Until(d.due)) }

func (d *device) wait(ctx context.Context, t time.Duration) error {
	err := sensors.Wait(ctx, t)
	if errors.Is(err, sensors.ErrTimeout) {
		return fmt.Errorf("in mode %s a measurement takes %s, the first longer; are this sensor's interval and timeout more than that? %w",
			d.mode.name, d.mode.period, err)
	}
	return err
}

// Halt ends the measurements. An SCD41 or SCD43 that made single shots is put to sleep.
func (d *device) Halt() error {
	c := stopPeriodic()
	if d.mode.start == nil {
		c = powerDown()
	}
	if err := d.bus.Write([]byte{byte(c.code >> 8), byte(c.code)}); err != nil {
		return fmt.Errorf("%s: stop: %w", d, err)
	}
	return nil
}
