package aht20

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
		Type:   "aht20",
		Doc:    "Aosong AHT20, AHT21, AHT25 or DHT20 on I²C: temperature, humidity",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Bus: "1"} },

		Addresses: []uint16{address},
		Identify:  identify,
	}
}

// Config is the driver's part of a [[sensor]] table. There is no key for the address: the chip has only one.
type Config struct {
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
}

var _ sensors.Placed = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{I2C: c.Bus, Address: address} }

// Open finds the chip and makes it load its calibration, if it has not.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, address)
	if err != nil {
		return nil, fmt.Errorf("aht20: %w", err)
	}
	d := &device{bus: bus}
	if err := d.ensureSetUp(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
