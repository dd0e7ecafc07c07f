package ina226

import (
	"context"
	_ "embed" // for the sample configuration
	"fmt"
	"slices"

	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "ina226",
		Doc:    "TI INA226 on I²C: current, voltage up to 36 V, power",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Bus: "1", Address: 0x40, ShuntOhms: 0.1, Averages: 16} },

		Addresses: []uint16{0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f},
		Identify:  identify,
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
	// Address is 0x40 (pins A0 and A1 to ground, the default) to 0x4f.
	Address int `toml:"address"`
	// ShuntOhms is the resistor that the current flows through. Default 0.1, as on most boards.
	ShuntOhms float64 `toml:"shunt_ohms"`
	// Averages is how many conversions make one value: 1, 4, 16 (default), 64, 128, 256, 512 or 1024.
	Averages int `toml:"averages"`
}

var _ sensors.Placed = (*Config)(nil)

// maxShuntOhms is more than any shunt has: what is larger was meant in milliohms.
const maxShuntOhms = 10

// averages are the counts that the chip knows, at the codes it has for them (table 7-3).
func averages() []int { return []int{1, 4, 16, 64, 128, 256, 512, 1024} }

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
	if c.Address < 0x40 || c.Address > 0x4f {
		bad("address", fmt.Sprintf("want 0x40 to 0x4f, got 0x%02x", c.Address))
	}
	if !(c.ShuntOhms >= 1e-6 && c.ShuntOhms <= maxShuntOhms) { // false for NaN
		bad("shunt_ohms", fmt.Sprintf("want ohms, more than 0 and at most %d (a part marked R100 has 0.1), got %g", maxShuntOhms, c.ShuntOhms))
	}
	if !slices.Contains(averages(), c.Averages) {
		bad("averages", fmt.Sprintf("want 1, 4, 16, 64, 128, 256, 512 or 1024, got %d", c.Averages))
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{I2C: c.Bus, Address: c.Address} }

// Open finds the chip and makes sure that it is one.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, uint16(c.Address))
	if err != nil {
		return nil, fmt.Errorf("ina226: %w", err)
	}
	d := &device{bus: bus, shuntOhms: c.ShuntOhms, averages: c.Averages}
	if err := d.setUp(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
