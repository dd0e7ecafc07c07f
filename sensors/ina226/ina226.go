package ina226

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"iotagent/sensors"
)

// Registers (table 7-1) and their bits.
const (
	regConfig       = 0x00
	regShunt        = 0x01
	regBus          = 0x02
	regMask         = 0x06
	regManufacturer = 0xfe
	regDie          = 0xff

	configFixed  = 1 << 14 // reads 1 after a reset, and is kept so
	convTimes    = 0b100<<6 | 0b100<<3
	modeOff      = 0
	modeOnce     = 3 // shunt and bus, triggered by this write
	modeMask     = 7
	maskReady    = 1 << 3
	manufacturer = 0x5449 // "TI"
	die          = 0x2260
	revisionMask = 0x000f
)

const (
	convMax   = 1210 * time.Microsecond // of one conversion at 1.1 ms (5.5, maximum)
	wakeUp    = 40 * time.Microsecond   // from power-down
	pollEvery = 2 * time.Millisecond    // between two looks at the ready flag
	polls     = 5                       // looks before the chip is given up
)

// device is one opened chip.
type device struct {
	bus       *sensors.I2CDev
	shuntOhms float64
	averages  int
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "ina226@" + d.bus.String() }

// settings is the configuration register's value with the chip off.
func (d *device) settings() uint16 {
	return configFixed | uint16(slices.Index(averages(), d.averages))<<9 | convTimes | modeOff
}

// conversionTime is the longest a measurement takes.
func (d *device) conversionTime() time.Duration {
	return time.Duration(2*d.averages)*convMax + wakeUp
}

// read returns a register.
func (d *device) read(ctx context.Context, reg byte) (uint16, error) {
	var b [2]byte
	if err := d.bus.Tx(ctx, []byte{reg}, b[:]); err != nil {
		return 0, fmt.Errorf("read register 0x%02x: %w", reg, err)
	}
	return binary.BigEndian.Uint16(b[:]), nil
}

// configure writes the settings with a mode. A write of modeOnce starts a measurement and clears the ready flag.
func (d *device) configure(ctx context.Context, mode uint16) error {
	if err := d.bus.Tx(ctx, binary.BigEndian.AppendUint16([]byte{regConfig}, d.settings()|mode), nil); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// setUp identifies the chip and leaves it asleep with its settings made.
func (d *device) setUp(ctx context.Context) error {
	maker, err := d.read(ctx, regManufacturer)
	if err != nil {
		return err
	}
	chip, err := d.read(ctx, regDie)
	if err != nil {
		return err
	}
	if maker != manufacturer || chip&^revisionMask != die {
		return fmt.Errorf("the ids are 0x%04x and 0x%04x, want 0x5449 and 0x2260; is this an INA219, which has none, or another chip? %w",
			maker, chip, sensors.ErrAbsent)
	}
	return d.configure(ctx, modeOff)
}

// ensureSetUp reads the settings back, and sets the chip up anew when they are not what was written: it lost its power, or is another.
// After a reset the mode is neither of ours.
func (d *device) ensureSetUp(ctx context.Context) error {
	got, err := d.read(ctx, regConfig)
	if err != nil {
		return err
	}
	if mode := got & modeMask; got&^modeMask == d.settings() && (mode == modeOff || mode == modeOnce) {
		return nil
	}
	return d.setUp(ctx)
}

// await waits for the measurement, then looks until the chip says that both values are there.
func (d *device) await(ctx context.Context) error {
	wait := d.conversionTime()
	for range polls {
		if err := sensors.Wait(ctx, wait); err != nil {
			return fmt.Errorf("wait for the chip: %w", err)
		}
		mask, err := d.read(ctx, regMask)
		if err != nil {
			return err
		}
		if mask&maskReady != 0 {
			return nil
		}
		wait = pollEvery
	}
	return fmt.Errorf("the chip does not finish its measurement: %w", sensors.ErrTimeout)
}

// Read makes one triggered measurement.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := d.measure(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

func (d *device) measure(ctx context.Context) ([]sensors.Sample, error) {
	if err := d.ensureSetUp(ctx); err != nil {
		return nil, err
	}
	if err := d.configure(ctx, modeOnce); err != nil {
		return nil, err
	}
	if err := d.await(ctx); err != nil {
		return nil, err
	}
	shunt, err := d.read(ctx, regShunt) // both are of the same measurement: the chip sleeps by now
	if err != nil {
		return nil, err
	}
	bus, err := d.read(ctx, regBus)
	if err != nil {
		return nil, err
	}
	return decode(shunt, bus, d.shuntOhms)
}

// Halt puts the chip to sleep. After a measurement it sleeps anyway; this ends one that was broken off.
func (d *device) Halt() error {
	if err := d.bus.Write(binary.BigEndian.AppendUint16([]byte{regConfig}, d.settings()|modeOff)); err != nil {
		return fmt.Errorf("%s: sleep: %w", d, err)
	}
	return nil
}
