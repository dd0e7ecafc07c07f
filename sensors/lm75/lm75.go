package lm75

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"iotagent/sensors"
)

var errPowerLost = errors.New("the chip lost its power, or its settings were changed, during the measurement")

// device is one opened chip.
type device struct {
	bus   *sensors.I2CDev
	model model
	known bool // set up, and no measurement failed since
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip and where it is.
func (d *device) String() string { return d.model.name + "@" + d.bus.String() }

// setUp checks as far as it can be that this is the chip, makes its settings and leaves it shut down.
func (d *device) setUp(ctx context.Context) error {
	m := &d.model
	settings, err := d.settings(ctx)
	if err != nil {
		return err
	}
	if settings&m.fixedMask != m.fixed {
		return d.another(settings)
	}
	if err := d.configure(ctx, m.asleep); err != nil {
		return err
	}
	if settings, err = d.settings(ctx); err != nil {
		return err
	}
	if settings&m.mask != m.asleep&m.mask {
		return d.another(settings)
	}
	d.known = true
	return nil
}

// another is the error for settings that the chip would not have.
func (d *device) another(settings uint16) error {
	return fmt.Errorf("the settings read 0x%04x, as those of a %s never do; is this another chip, or a loose wire? %w",
		settings, d.model.name, sensors.ErrAbsent)
}

// settings reads the configuration register.
func (d *device) settings(ctx context.Context) (uint16, error) {
	b := make([]byte, 2)
	n := 1
	if d.model.wide {
		n = 2
	}
	if err := d.bus.Tx(ctx, []byte{regConfiguration}, b[:n]); err != nil {
		return 0, fmt.Errorf("read settings: %w", err)
	}
	return binary.BigEndian.Uint16(b), nil
}

func (d *device) configure(ctx context.Context, settings uint16) error {
	if err := d.bus.Tx(ctx, d.model.write(settings), nil); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// Read makes one measurement.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	celsius, err := d.read(ctx)
	if err != nil {
		d.known = false
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return []sensors.Sample{{Name: "temperature_celsius", Value: celsius}}, nil
}

func (d *device) read(ctx context.Context) (float64, error) {
	if err := d.ensureSetUp(ctx); err != nil {
		return 0, err
	}
	if err := d.configure(ctx, d.model.start); err != nil {
		return 0, err
	}
	if err := sensors.Wait(ctx, d.model.wait); err != nil {
		return 0, fmt.Errorf("wait for the conversion: %w", err)
	}
	var word [2]byte
	if err := d.bus.Tx(ctx, []byte{regTemperature}, word[:]); err != nil {
		return 0, fmt.Errorf("read temperature: %w", err)
	}
	if err := d.finish(ctx); err != nil {
		return 0, err
	}
	return d.model.celsius(binary.BigEndian.Uint16(word[:]))
}

// finish makes sure that a whole conversion took place, and shuts the chip down if it did not do so itself.
func (d *device) finish(ctx context.Context) error {
	m := &d.model
	settings, err := d.settings(ctx)
	switch {
	case err != nil:
		return err
	case settings&m.mask != m.running&m.mask:
		return errPowerLost
	case settings&m.ready != m.ready:
		return fmt.Errorf("the chip is still converting after %s: %w", m.wait, sensors.ErrTimeout)
	case m.running != m.asleep:
		return d.configure(ctx, m.asleep)
	default:
		return nil
	}
}

// ensureSetUp sets the chip up anew unless its settings are as they were left: it lost its power, or is another.
func (d *device) ensureSetUp(ctx context.Context) error {
	if d.known {
		settings, err := d.settings(ctx)
		if err != nil {
			return err
		}
		if settings&d.model.mask == d.model.asleep&d.model.mask {
			return nil
		}
	}
	return d.setUp(ctx)
}

// Halt shuts the chip down. After a measurement it is; this ends one that was broken off.
func (d *device) Halt() error {
	if err := d.bus.Write(d.model.write(d.model.asleep)); err != nil {
		return fmt.Errorf("%s: shut down: %w", d, err)
	}
	return nil
}
