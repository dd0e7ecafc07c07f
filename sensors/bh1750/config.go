package bh1750

import (
	"context"
	_ "embed" // for the sample configuration
	"fmt"

	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "bh1750",
		Doc:    "ROHM BH1750FVI on I²C: illuminance",
		Sample: sample,
		New: func() sensors.Config {
			return &Config{Bus: "1", Address: 0x23, Mode: "high", MeasurementTime: defaultTime}
		},

		Addresses: []uint16{0x23, 0x5c},
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
	// Address is 0x23 (pin ADDR low, the default) or 0x5c (ADDR high).
	Address int `toml:"address"`
	// Mode is "high" (default), "high2", which has steps of half the size and half the range, or "low", which is quick and coarse.
	Mode string `toml:"mode"`
	// MeasurementTime is the chip's register of that name, 31..254. Default 69. More takes longer and sees finer steps in the dark; the
	// range shrinks in proportion.
	MeasurementTime int `toml:"measurement_time"`
}

var _ sensors.Placed = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
	if c.Address != 0x23 && c.Address != 0x5c {
		bad("address", fmt.Sprintf("want 0x23 or 0x5c, got 0x%02x", c.Address))
	}
	if _, ok := modes()[c.Mode]; !ok {
		bad("mode", fmt.Sprintf("want \"high\", \"high2\" or \"low\", got %q", c.Mode))
	}
	if c.MeasurementTime < minTime || c.MeasurementTime > maxTime {
		bad("measurement_time", fmt.Sprintf("want %d..%d, got %d", minTime, maxTime, c.MeasurementTime))
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{I2C: c.Bus, Address: c.Address} }

// Open finds out whether anything answers. What it is cannot be known.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, uint16(c.Address))
	if err != nil {
		return nil, fmt.Errorf("bh1750: %w", err)
	}
	d := &device{bus: bus, usual: setting{modes()[c.Mode], c.MeasurementTime}}
	if err := d.write(ctx, opPowerDown); err != nil {
		return nil, fmt.Errorf("%s: power down: %w", d, err)
	}
	return d, nil
}
