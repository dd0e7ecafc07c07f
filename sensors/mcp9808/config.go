package mcp9808

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
		Type:   "mcp9808",
		Doc:    "Microchip MCP9808 on I²C: temperature",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Bus: "1", Address: 0x18, Resolution: 0.0625} },

		Addresses: []uint16{0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f},
		Identify:  identify,
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
	// Address is 0x18 (pins A0 to A2 low, the default) to 0x1f.
	Address int `toml:"address"`
	// Resolution in °C is 0.0625 (default), 0.125, 0.25 or 0.5. A finer one takes longer.
	Resolution float64 `toml:"resolution"`
}

var _ sensors.Placed = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
	if c.Address < 0x18 || c.Address > 0x1f {
		bad("address", fmt.Sprintf("want 0x18 to 0x1f, got 0x%02x", c.Address))
	}
	if _, ok := precisionOf(c.Resolution); !ok {
		bad("resolution", fmt.Sprintf("want 0.0625, 0.125, 0.25 or 0.5, got %g", c.Resolution))
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{I2C: c.Bus, Address: c.Address} }

// Open finds the chip, makes its settings and shuts it down until the first reading.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, uint16(c.Address))
	if err != nil {
		return nil, fmt.Errorf("mcp9808: %w", err)
	}
	d := &device{bus: bus}
	d.precision, _ = precisionOf(c.Resolution) // Validate refused any other
	if err := d.setUp(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
