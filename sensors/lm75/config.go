package lm75

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
		Type:   "lm75",
		Doc:    "LM75, PCT2075, TMP75 or TMP102 on I²C: temperature",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Chip: "lm75", Bus: "1", Address: 0x48} },

		Addresses: []uint16{0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f},
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Chip is "lm75" (default), "pct2075", "tmp75" or "tmp102". Nothing in the chip tells them apart for certain.
	Chip string `toml:"chip"`
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
	// Address is 0x48 (default) to 0x4f, or to 0x4b for a tmp102.
	Address int `toml:"address"`
}

var _ sensors.Placed = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	m, ok := modelOf(c.Chip)
	if !ok {
		bad("chip", fmt.Sprintf("want lm75, pct2075, tmp75 or tmp102, got %q", c.Chip))
		m.lastAddress = 0x4f
	}
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
	if c.Address < 0x48 || c.Address > m.lastAddress {
		bad("address", fmt.Sprintf("want 0x48 to 0x%02x, got 0x%02x", m.lastAddress, c.Address))
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{I2C: c.Bus, Address: c.Address} }

// Open finds the chip, makes its settings and shuts it down until the first reading.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, uint16(c.Address))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Chip, err)
	}
	m, _ := modelOf(c.Chip) // Validate refused any other
	d := &device{bus: bus, model: m}
	if err := d.setUp(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
