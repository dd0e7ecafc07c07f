package scd4x

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"iotagent/internal/crc8"
	"iotagent/sensors"
)

// address is the only one that the chip has.
const address = 0x62

// command is one command and the longest it takes until an answer can be read or another command be sent (3.5 to 3.10).
type command struct {
	code uint16
	wait time.Duration
}

func startPeriodic() command   { return command{0x21b1, 0} }
func startLowPower() command   { return command{0x21ac, 0} }
func stopPeriodic() command    { return command{0x3f86, 500 * time.Millisecond} }
func readMeasurement() command { return command{0xec05, time.Millisecond} }
func dataReady() command       { return command{0xe4b8, time.Millisecond} }
func serialNumber() command    { return command{0x3682, time.Millisecond} }
func variant() command         { return command{0x202f, time.Millisecond} }
func reinit() command          { return command{0x3646, 30 * time.Millisecond} }
func wakeUp() command          { return command{0x36f6, 30 * time.Millisecond} }
func powerDown() command       { return command{0x36e0, 0} }
func singleShot() command      { return command{0x219d, 0} } // the device waits for it itself

// setting is a command with an argument.
type setting struct {
	name  string
	code  uint16
	value uint16
}

// settingTime is how long each setting takes.
const settingTime = time.Millisecond

// settings are those that the configuration has.
func (c *Config) settings() []setting {
	var all []setting
	if c.TemperatureOffset != nil {
		all = append(all, setting{"temperature offset", 0x241d, uint16(math.Round(*c.TemperatureOffset * 65535 / 175))})
	}
	if c.Altitude != nil {
		all = append(all, setting{"altitude", 0x2427, uint16(*c.Altitude)})
	}
	if c.Pressure != nil {
		all = append(all, setting{"pressure", 0xe000, uint16(math.Round(*c.Pressure / 100))})
	}
	if c.SelfCalibration != nil {
		s := setting{"self-calibration", 0x2416, 0}
		if *c.SelfCalibration {
			s.value = 1
		}
		all = append(all, s)
	}
	return all
}

// bytes is the setting as it goes over the bus.
func (s setting) bytes() []byte {
	b := binary.BigEndian.AppendUint16(nil, s.code)
	b = binary.BigEndian.AppendUint16(b, s.value)
	return append(b, crc8.Sum(b[2:]))
}

// send sends a command and waits as long as it takes.
func (d *device) send(ctx context.Context, c command) error {
	if err := d.bus.Tx(ctx, binary.BigEndian.AppendUint16(nil, c.code), nil); err != nil {
		return fmt.Errorf("send command 0x%04x: %w", c.code, err)
	}
	return wait(ctx, c.wait)
}

// ask sends a command and reads the words of its answer.
func (d *device) ask(ctx context.Context, c command, words int) ([]uint16, error) {
	if err := d.send(ctx, c); err != nil {
		return nil, err
	}
	frame := make([]byte, 3*words)
	if err := d.bus.Tx(ctx, nil, frame); err != nil {
		return nil, fmt.Errorf("read answer to 0x%04x: %w", c.code, err)
	}
	return parse(frame)
}

// set makes one setting.
func (d *device) set(ctx context.Context, s setting) error {
	if err := d.bus.Tx(ctx, s.bytes(), nil); err != nil {
		return fmt.Errorf("set %s: %w", s.name, err)
	}
	return wait(ctx, settingTime)
}

func wait(ctx context.Context, t time.Duration) error {
	if err := sensors.Wait(ctx, t); err != nil {
		return fmt.Errorf("wait for the chip: %w", err)
	}
	return nil
}
