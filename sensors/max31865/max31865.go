package max31865

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"iotagent/sensors"
)

// Registers (table 1), and the bit that an address has when it is written.
const (
	regConfig    = 0x00
	regThreshold = 0x03 // high and low, two bytes each
	write        = 0x80
	registers    = 8
)

// Bits of the configuration (table 2).
const (
	bias        = 0x80
	oneShot     = 0x20
	threeWire   = 0x10
	faultDetect = 0x04 // the automatic cycle; the two bits are 0 when it is over
	faultClear  = 0x02 // reads 0
	filter50    = 0x01
)

const (
	settle    = 10 * time.Millisecond // more than 10.5 time constants of the input (table 2, bit 7); a cycle of fault detection takes 0.6 ms
	pollEvery = 5 * time.Millisecond
	polls     = 4 // looks before the chip is given up
)

// device is one opened chip.
type device struct {
	bus        *sensors.SPIDev
	base       byte // the configuration between readings
	conversion time.Duration
	rtd        rtd
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "max31865@" + d.bus.String() }

func (c *Config) base() byte {
	var b byte
	if c.Wires == 3 {
		b |= threeWire
	}
	if c.MainsHz == 50 {
		b |= filter50
	}
	return b
}

// conversionTime is the longest that one conversion takes ("Electrical Characteristics").
func (c *Config) conversionTime() time.Duration {
	if c.MainsHz == 50 {
		return 66 * time.Millisecond
	}
	return 55 * time.Millisecond
}

// thresholds are those after a reset: none. They are written so that they read back.
func thresholds() [4]byte { return [4]byte{0xff, 0xff, 0x00, 0x00} }

// setUp makes the settings, and holds the chip to have taken them.
func (d *device) setUp(ctx context.Context) error {
	if err := d.configure(ctx, d.base|faultClear); err != nil {
		return err
	}
	t := thresholds()
	if err := d.bus.Tx(ctx, append([]byte{write | regThreshold}, t[:]...), nil); err != nil {
		return fmt.Errorf("write thresholds: %w", err)
	}
	_, err := d.read(ctx, d.base)
	return err
}

// configure writes the configuration register.
func (d *device) configure(ctx context.Context, b byte) error {
	if err := d.bus.Tx(ctx, []byte{write | regConfig, b}, nil); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// snapshot is what all registers hold: bytes at their addresses.
type snapshot [registers]byte

// read reads all registers at once and holds the settings to be those that were written.
func (d *device) read(ctx context.Context, config byte) (snapshot, error) {
	var w, r [1 + registers]byte
	if err := d.bus.Tx(ctx, w[:], r[:]); err != nil {
		return snapshot{}, fmt.Errorf("read registers: %w", err)
	}
	s := snapshot(r[1:])
	return s, s.check(config)
}

// check holds the settings to be those that were written. A conversion that is under way shows in them.
func (s snapshot) check(config byte) error {
	if got := s[regConfig] &^ oneShot; got != config || [4]byte(s[regThreshold:]) != thresholds() {
		return fmt.Errorf("the registers read % x, want them to begin with %02x and to have ff ff 00 00 as the thresholds; is this another chip, "+
			"did it lose its power, or is a wire loose? %w", s[:], config, sensors.ErrAbsent)
	}
	return nil
}

// Read makes one measurement.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	s, err := d.measure(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	t, err := d.rtd.decode(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return []sensors.Sample{{Name: "temperature_celsius", Value: t}}, nil
}

// measure puts the thermometer under current, looks for faults, converts and takes the current off again.
func (d *device) measure(ctx context.Context) (snapshot, error) {
	on := d.base | bias
	for _, step := range []struct {
		config byte
		wait   time.Duration
	}{{on | faultClear, settle}, {on | faultDetect, settle}, {on | oneShot, d.conversion}} {
		if err := d.configure(ctx, step.config); err != nil {
			return snapshot{}, err
		}
		if err := sensors.Wait(ctx, step.wait); err != nil {
			return snapshot{}, fmt.Errorf("wait for the chip: %w", err)
		}
	}
	s, err := d.await(ctx, on)
	if err != nil {
		return snapshot{}, err
	}
	return s, d.configure(ctx, d.base)
}

// await reads the registers until the conversion is over.
func (d *device) await(ctx context.Context, config byte) (snapshot, error) {
	for range polls {
		s, err := d.read(ctx, config)
		if err != nil || s[regConfig]&oneShot == 0 {
			return s, err
		}
		if err := sensors.Wait(ctx, pollEvery); err != nil {
			return snapshot{}, fmt.Errorf("wait for the chip: %w", err)
		}
	}
	return snapshot{}, fmt.Errorf("the chip does not finish its conversion: %w", sensors.ErrTimeout)
}

// decode turns the registers after a conversion into a temperature.
func (r rtd) decode(s snapshot) (float64, error) {
	word, status := binary.BigEndian.Uint16(s[1:]), s[7]
	if word&1 != 0 || status != 0 {
		return 0, faultError(status)
	}
	return r.celsius(word >> 1)
}

// Halt takes the current off the thermometer. After a reading it is; this ends one that was broken off.
func (d *device) Halt() error {
	if err := d.bus.Write([]byte{write | regConfig, d.base}); err != nil {
		return fmt.Errorf("%s: switch the current off: %w", d, err)
	}
	return nil
}
