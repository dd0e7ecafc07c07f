package ads1115

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
		Type:   "ads1115",
		Doc:    "TI ADS1115 on I²C: four analog inputs, 16 bits",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Bus: "1", Address: 0x48, SamplesPerSecond: 128} },

		Addresses: []uint16{0x48, 0x49, 0x4a, 0x4b},
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
	// Address is 0x48 (pin ADDR at ground, the default), 0x49 (supply), 0x4a (SDA) or 0x4b (SCL).
	Address int `toml:"address"`
	// SamplesPerSecond is the rate: 8, 16, 32, 64, 128 (default), 250, 475 or 860. Slower is less noisy.
	SamplesPerSecond int `toml:"samples_per_second"`
	// Channels are the inputs to read, in this order. None, the default, means A0 to A3.
	Channels []Channel `toml:"channel"`
}

// Channel is one [[sensor.channel]] block: an input that is measured.
type Channel struct {
	// Input is "A0" to "A3" against ground, or the difference "A0-A1", "A0-A3", "A1-A3" or "A2-A3".
	Input string `toml:"input"`
	// Name is what the value is called; it ends in _volts. Default: after the input, "a0_volts" or "a0_a1_volts".
	Name string `toml:"name"`
	// RangeVolts is the largest voltage, plus or minus: 6.144, 4.096 (default), 2.048, 1.024, 0.512 or 0.256.
	RangeVolts float64 `toml:"range_volts"`
}

var _ sensors.Placed = (*Config)(nil)

// rates are those that the chip knows, at the codes it has for them (8.1.3).
func rates() []int { return []int{8, 16, 32, 64, 128, 250, 475, 860} }

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
	if c.Address < 0x48 || c.Address > 0x4b {
		bad("address", fmt.Sprintf("want 0x48 to 0x4b, got 0x%02x", c.Address))
	}
	if !slices.Contains(rates(), c.SamplesPerSecond) {
		bad("samples_per_second", fmt.Sprintf("want 8, 16, 32, 64, 128, 250, 475 or 860, got %d", c.SamplesPerSecond))
	}
	validateChannels(c.Channels, bad)
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place {
	return sensors.Place{I2C: c.Bus, Address: c.Address, Shared: true}
}

// Open finds the chip, and makes sure that it is one as far as that can be done.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, uint16(c.Address))
	if err != nil {
		return nil, fmt.Errorf("ads1115: %w", err)
	}
	d := &device{bus: bus, rate: c.SamplesPerSecond, channels: withDefaults(c.Channels)}
	if err := d.identify(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
