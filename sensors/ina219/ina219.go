package ina219

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	"iotagent/sensors"
)

// Registers (table 2) and their bits.
const (
	regConfig = 0x00
	regShunt  = 0x01
	regBus    = 0x02
	regPower  = 0x03

	configReset = 1 << 15
	afterReset  = 0x399f
	unusedBits  = 1<<15 | 1<<14 // read 0
	range32V    = 1 << 13
	modeOff     = 0
	modeOnce    = 3 // shunt and bus, triggered by this write
	modeMask    = 7
)

const (
	convMax   = 586 * time.Microsecond // of one conversion with 12 bits (7.5, maximum)
	wakeUp    = 40 * time.Microsecond  // from power-down
	pollEvery = 2 * time.Millisecond   // between two looks at the ready flag
	polls     = 5                      // looks before the chip is given up
)

// device is one opened chip.
type device struct {
	bus      *sensors.I2CDev
	shunt    shunt
	averages int
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "ina219@" + d.bus.String() }

// settings is the configuration register's value with the chip off (8.6.2.1). One conversion is code 8, 128 are code 15.
func (d *device) settings() uint16 {
	adc := uint16(7 + bits.Len(uint(d.averages)))
	return range32V | uint16(d.shunt.gain)<<11 | adc<<7 | adc<<3 | modeOff
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

// configure writes the configuration register.
func (d *device) configure(ctx context.Context, word uint16) error {
	if err := d.bus.Tx(ctx, binary.BigEndian.AppendUint16([]byte{regConfig}, word), nil); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// setUp makes sure that this is the chip, and leaves it asleep with its settings made.
func (d *device) setUp(ctx context.Context) error {
	if err := d.identify(ctx); err != nil {
		return err
	}
	return d.configure(ctx, d.settings()|modeOff)
}

// identify resets the chip, but not one that cannot be an INA219.
func (d *device) identify(ctx context.Context) error {
	before, err := d.read(ctx, regConfig)
	if err != nil {
		return err
	}
	if before&unusedBits != 0 {
		return fmt.Errorf("the configuration register is 0x%04x, whose two top bits an INA219 has at 0; is this an INA226, or another chip? %w",
			before, sensors.ErrAbsent)
	}
	if err := d.configure(ctx, configReset); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	after, err := d.read(ctx, regConfig)
	if err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	if after != afterReset {
		return fmt.Errorf("the configuration register is 0x%04x after a reset, want 0x%04x; is this another chip, or a loose wire? %w",
			after, afterReset, sensors.ErrAbsent)
	}
	return nil
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

// await waits for the measurement, then looks until the chip says that both values are there. It returns the bus voltage register.
func (d *device) await(ctx context.Context) (uint16, error) {
	wait := d.conversionTime()
	for range polls {
		if err := sensors.Wait(ctx, wait); err != nil {
			return 0, fmt.Errorf("wait for the chip: %w", err)
		}
		bus, err := d.read(ctx, regBus)
		if err != nil {
			return 0, err
		}
		if bus&busReady != 0 {
			return bus, nil
		}
		wait = pollEvery
	}
	return 0, fmt.Errorf("the chip does not finish its measurement: %w", sensors.ErrTimeout)
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
	if _, err := d.read(ctx, regPower); err != nil { // clears the ready flag
		return nil, err
	}
	if err := d.configure(ctx, d.settings()|modeOnce); err != nil {
		return nil, err
	}
	bus, err := d.await(ctx)
	if err != nil {
		return nil, err
	}
	shunt, err := d.read(ctx, regShunt) // of the same measurement: the chip sleeps by now
	if err != nil {
		return nil, err
	}
	return d.shunt.decode(shunt, bus)
}

// Halt puts the chip to sleep. After a measurement it sleeps anyway; this ends one that was broken off.
func (d *device) Halt() error {
	if err := d.bus.Write(binary.BigEndian.AppendUint16([]byte{regConfig}, d.settings()|modeOff)); err != nil {
		return fmt.Errorf("%s: sleep: %w", d, err)
	}
	return nil
}
