package ads1115

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"iotagent/sensors"
)

// Registers (8.1) and their bits.
const (
	regConversion    = 0
	regConfig        = 1
	regLowThreshold  = 2
	regHighThreshold = 3

	start         = 1 << 15 // written
	idle          = 1 << 15 // read: no conversion is under way
	singleShot    = 1 << 8
	polarity      = 1 << 3 // of the comparator; 0 after a reset
	comparatorOff = 3

	lowAfterReset  = 0x8000
	highAfterReset = 0x7fff
	bits12         = 0xfff0 // those that an ADS1015 has
)

const (
	wakeUp    = 50 * time.Microsecond // from power-down, twice what the datasheet has as typical (7.4.2.1)
	pollEvery = 2 * time.Millisecond  // between two looks whether it is done
	polls     = 5                     // looks before the chip is given up
)

// device is one opened chip.
type device struct {
	bus      *sensors.I2CDev
	rate     int
	channels []Channel
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "ads1115@" + d.bus.String() }

// conversionTime is the longest a conversion takes: the rate is good to 10 % (5.5).
func conversionTime(rate int) time.Duration {
	return time.Second*10/9/time.Duration(rate) + wakeUp
}

// read returns a register.
func (d *device) read(ctx context.Context, reg byte) (uint16, error) {
	var b [2]byte
	if err := d.bus.Tx(ctx, []byte{reg}, b[:]); err != nil {
		return 0, fmt.Errorf("read register %d: %w", reg, err)
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

// identify makes sure that the threshold registers are as after a reset. It writes nothing.
func (d *device) identify(ctx context.Context) error {
	low, err := d.read(ctx, regLowThreshold)
	if err != nil {
		return err
	}
	high, err := d.read(ctx, regHighThreshold)
	if err != nil {
		return err
	}
	if low != lowAfterReset || high&bits12 != highAfterReset&bits12 {
		return fmt.Errorf("the thresholds are 0x%04x and 0x%04x, want 0x%04x and 0x%04x; is this another chip, or did another program set them "+
			"(then take its power away for a moment)? %w", low, high, lowAfterReset, highAfterReset, sensors.ErrAbsent)
	}
	return nil
}

// settle waits for a conversion that an earlier reading or another program left behind, and ends the continuous mode.
func (d *device) settle(ctx context.Context) error {
	config, err := d.read(ctx, regConfig)
	if err != nil || config&idle != 0 {
		return err
	}
	settings := d.channels[0].settings(d.rate)
	if err := d.configure(ctx, settings); err != nil {
		return err
	}
	return d.await(ctx, conversionTime(rates()[0]), settings)
}

var errChanged = errors.New("the settings are not those that were written: the chip lost its power, or another program uses it")

// await waits, then looks until no conversion is under way and makes sure that the settings are still the given ones.
func (d *device) await(ctx context.Context, wait time.Duration, settings uint16) error {
	for range polls {
		if err := sensors.Wait(ctx, wait); err != nil {
			return fmt.Errorf("wait for the chip: %w", err)
		}
		config, err := d.read(ctx, regConfig)
		switch {
		case err != nil:
			return err
		case config&^idle != settings:
			return fmt.Errorf("0x%04x, want 0x%04x: %w", config&^idle, settings, errChanged)
		case config&idle != 0:
			return nil
		}
		wait = pollEvery
	}
	return fmt.Errorf("the chip does not finish its conversion: %w", sensors.ErrTimeout)
}

// Read converts every channel once, in their order.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := d.convertAll(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return samples, nil
}

func (d *device) convertAll(ctx context.Context) ([]sensors.Sample, error) {
	release, err := d.bus.Hold(ctx) // another sensor may measure other channels of this chip
	if err != nil {
		return nil, err
	}
	defer release()
	if err := d.identify(ctx); err != nil { // by now it may be another chip
		return nil, err
	}
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	samples := make([]sensors.Sample, 0, len(d.channels))
	for _, c := range d.channels {
		volts, err := d.convert(ctx, c)
		if err != nil {
			return nil, err
		}
		samples = append(samples, sensors.Sample{Name: c.Name, Value: volts})
	}
	return samples, nil
}

func (d *device) convert(ctx context.Context, c Channel) (float64, error) {
	settings := c.settings(d.rate)
	if err := d.configure(ctx, settings|start); err != nil {
		return 0, err
	}
	if err := d.await(ctx, conversionTime(d.rate), settings); err != nil {
		return 0, err
	}
	reg, err := d.read(ctx, regConversion)
	if err != nil {
		return 0, err
	}
	return c.decode(reg)
}

// Halt does nothing: the chip sleeps after each conversion.
func (d *device) Halt() error { return nil }
