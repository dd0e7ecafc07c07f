package bh1750

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"iotagent/sensors"
)

// Opcodes (Instruction Set Architecture).
const (
	opPowerDown   = 0x00
	opPowerOn     = 0x01
	opOneTimeH    = 0x20
	opOneTimeH2   = 0x21
	opOneTimeL    = 0x23
	opTimeHigh    = 0x40 // and bits 7..5 of the measurement time
	opTimeLow     = 0x60 // and bits 4..0
	timeLowerBits = 5
)

// Values of the measurement time register (Adjust measurement result for influence of optical window).
const (
	minTime     = 31
	defaultTime = 69
	maxTime     = 254
)

const (
	dazzled      = 0xffff // the data of a measurement that ran over
	countsPerLux = 1.2    // in modes high and low, at the default measurement time (page 2)
)

// mode is one of the chip's resolutions.
type mode struct {
	opcode byte
	finer  float64       // steps for each one of mode high
	wait   time.Duration // for a measurement at the default time, at most (page 2)
}

func modes() map[string]mode {
	return map[string]mode{
		"high":  {opOneTimeH, 1, 180 * time.Millisecond},
		"high2": {opOneTimeH2, 2, 180 * time.Millisecond},
		"low":   {opOneTimeL, 1, 24 * time.Millisecond},
	}
}

// setting is how a measurement is made.
type setting struct {
	mode
	time int // the register's value
}

// brightest is the setting that sees the most light.
func brightest() setting { return setting{modes()["high"], minTime} }

// duration is the longest that a measurement takes.
func (s setting) duration() time.Duration {
	return s.wait * time.Duration(s.time) / defaultTime
}

// lux is what the chip's number means: page 10, and at other measurement times in proportion.
func (s setting) lux(raw uint16) float64 {
	return float64(raw) / countsPerLux * defaultTime / float64(s.time) / s.finer
}

// errDazzled: the light is beyond the range of the setting.
var errDazzled = errors.New("too bright")

// decode turns the two bytes of a measurement into a value. Its digits beyond 0.01 lx are finer than any step of the chip.
func (s setting) decode(data [2]byte) (float64, error) {
	raw := binary.BigEndian.Uint16(data[:])
	if raw == dazzled {
		return 0, fmt.Errorf("more than %.0f lx: %w", s.lux(raw), errDazzled)
	}
	return math.Round(s.lux(raw)*100) / 100, nil
}

// device is one opened chip.
type device struct {
	bus   *sensors.I2CDev
	usual setting
}

var _ sensors.Sensor = (*device)(nil)

// String names the chip.
func (d *device) String() string { return "bh1750@" + d.bus.String() }

// Read makes one measurement, and another when the first was dazzled.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	lux, err := d.measure(ctx, d.usual)
	if errors.Is(err, errDazzled) {
		lux, err = d.measure(ctx, brightest())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return []sensors.Sample{{Name: "illuminance_lux", Value: lux}}, nil
}

func (d *device) measure(ctx context.Context, s setting) (float64, error) {
	t := byte(s.time)
	for _, op := range []byte{opPowerOn, opTimeHigh | t>>timeLowerBits, opTimeLow | t&(1<<timeLowerBits-1), s.opcode} {
		if err := d.write(ctx, op); err != nil {
			return 0, fmt.Errorf("write 0x%02x: %w", op, err)
		}
	}
	if err := sensors.Wait(ctx, s.duration()); err != nil {
		return 0, fmt.Errorf("wait for the measurement: %w", err)
	}
	var data [2]byte
	if err := d.bus.Tx(ctx, nil, data[:]); err != nil {
		return 0, fmt.Errorf("read data: %w", err)
	}
	return s.decode(data)
}

// write sends one opcode.
func (d *device) write(ctx context.Context, op byte) error { return d.bus.Tx(ctx, []byte{op}, nil) }

// Halt powers the chip down. After a measurement in one-time mode it is; this ends one that was broken off.
func (d *device) Halt() error {
	if err := d.bus.Write([]byte{opPowerDown}); err != nil {
		return fmt.Errorf("%s: power down: %w", d, err)
	}
	return nil
}
