package mcp9808

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"iotagent/sensors"
)

var (
	errPowerLost = errors.New("the chip lost its power during the measurement")
	errLocked    = errors.New("other software locked the chip's settings: take its power away once")
)

// device is one opened chip.
type device struct {
	bus       *sensors.I2CDev
	precision precision
	known     bool // set up, and no measurement failed since
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip and where it is.
func (d *device) String() string { return "mcp9808@" + d.bus.String() }

// setUp identifies the chip, makes its settings and leaves it shut down.
func (d *device) setUp(ctx context.Context) error {
	if err := d.identify(ctx); err != nil {
		return err
	}
	settings, err := d.word(ctx, regConfig)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	if settings&locks != 0 {
		return errLocked
	}
	if err := d.bus.Tx(ctx, []byte{regResolution, d.precision.code}, nil); err != nil {
		return fmt.Errorf("write resolution: %w", err)
	}
	if err := d.configure(ctx, mark|shutdown); err != nil {
		return err
	}
	d.known = true
	return nil
}

func (d *device) identify(ctx context.Context) error {
	maker, err := d.word(ctx, regManufacturer)
	if err != nil {
		return fmt.Errorf("read manufacturer id: %w", err)
	}
	device, err := d.word(ctx, regDevice)
	if err != nil {
		return fmt.Errorf("read device id: %w", err)
	}
	if maker != manufacturerMicrochip || device>>8 != deviceMCP9808 {
		return fmt.Errorf("the ids are 0x%04x and 0x%04x, want 0x0054 and 0x04xx; is this another chip, or a loose wire? %w",
			maker, device, sensors.ErrAbsent)
	}
	return nil
}

func (d *device) configure(ctx context.Context, settings uint16) error {
	if err := d.bus.Tx(ctx, configWrite(settings), nil); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

func configWrite(settings uint16) []byte {
	return []byte{regConfig, byte(settings >> 8), byte(settings)}
}

// word reads a register of 16 bits.
func (d *device) word(ctx context.Context, reg byte) (uint16, error) {
	var b [2]byte
	if err := d.bus.Tx(ctx, []byte{reg}, b[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint16(b[:]), nil
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
	if err := d.configure(ctx, mark); err != nil {
		return 0, err
	}
	if err := sensors.Wait(ctx, d.precision.wait); err != nil {
		return 0, fmt.Errorf("wait for the conversion: %w", err)
	}
	word, err := d.word(ctx, regTemperature)
	if err != nil {
		return 0, fmt.Errorf("read temperature: %w", err)
	}
	settings, err := d.word(ctx, regConfig)
	if err != nil {
		return 0, fmt.Errorf("read settings: %w", err)
	}
	if settings&settingsMask != mark {
		return 0, errPowerLost
	}
	if err := d.configure(ctx, mark|shutdown); err != nil {
		return 0, err
	}
	return celsius(word)
}

// ensureSetUp sets the chip up anew unless its settings are as they were left: it lost its power, or is another.
func (d *device) ensureSetUp(ctx context.Context) error {
	if d.known {
		settings, err := d.word(ctx, regConfig)
		if err != nil {
			return fmt.Errorf("read settings: %w", err)
		}
		if settings&settingsMask == mark|shutdown {
			return nil
		}
	}
	return d.setUp(ctx)
}

// Halt shuts the chip down. After a measurement it is; this ends one that was broken off.
func (d *device) Halt() error {
	if err := d.bus.Write(configWrite(mark | shutdown)); err != nil {
		return fmt.Errorf("%s: shut down: %w", d, err)
	}
	return nil
}
