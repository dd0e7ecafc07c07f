package bmp388

import (
	"context"
	_ "embed" // for the sample configuration
	"fmt"
	"math/bits"

	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "bmp388",
		Doc:    "Bosch BMP388 or BMP390 on I²C: pressure, temperature",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Bus: "1", Address: 0x77, Oversampling: 1} },

		Addresses: []uint16{0x77, 0x76},
		Identify:  identify,
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
	// Address is 0x77 (pin SDO high, the default) or 0x76 (SDO low).
	Address int `toml:"address"`
	// Oversampling is how many conversions make one pressure: 1 (default), 2, 4, 8, 16 or 32. More take longer and are less noisy.
	Oversampling int `toml:"oversampling"`
}

var _ sensors.Placed = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
	if c.Address != 0x76 && c.Address != 0x77 {
		bad("address", fmt.Sprintf("want 0x76 or 0x77, got 0x%02x", c.Address))
	}
	if c.Oversampling < 1 || c.Oversampling > 32 || bits.OnesCount(uint(c.Oversampling)) != 1 {
		bad("oversampling", fmt.Sprintf("want 1, 2, 4, 8, 16 or 32, got %d", c.Oversampling))
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{I2C: c.Bus, Address: c.Address} }

// Open finds the chip, resets it and reads its calibration.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, uint16(c.Address))
	if err != nil {
		return nil, fmt.Errorf("bmp388: %w", err)
	}
	d := &device{bus: bus, oversampling: c.Oversampling}
	if err := d.setUp(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
