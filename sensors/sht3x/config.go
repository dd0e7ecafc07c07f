package sht3x

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
		Type:   "sht3x",
		Doc:    "Sensirion SHT30, SHT31, SHT35 or SHT85 on I²C: temperature, humidity",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Bus: "1", Address: 0x44, Repeatability: "high"} },

		Addresses: []uint16{0x44, 0x45},
		Identify:  identify,
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
	// Address is 0x44 (pin ADDR low, the default) or 0x45 (ADDR high).
	Address int `toml:"address"`
	// Repeatability is "high" (default), "medium" or "low". Less is faster and noisier.
	Repeatability string `toml:"repeatability"`
}

var _ sensors.Placed = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
	if c.Address != 0x44 && c.Address != 0x45 {
		bad("address", fmt.Sprintf("want 0x44 or 0x45, got 0x%02x", c.Address))
	}
	if _, ok := measurementOf(c.Repeatability); !ok {
		bad("repeatability", fmt.Sprintf("want \"high\", \"medium\" or \"low\", got %q", c.Repeatability))
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{I2C: c.Bus, Address: c.Address} }

// Open finds the chip, checks that it is one and resets it.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, uint16(c.Address))
	if err != nil {
		return nil, fmt.Errorf("sht3x: %w", err)
	}
	m, ok := measurementOf(c.Repeatability)
	if !ok {
		return nil, fmt.Errorf("sht3x@%s: unknown repeatability %q", bus, c.Repeatability)
	}
	d := &device{bus: bus, measurement: m}
	if err := d.setUp(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
