package tsl2591

import (
	"context"
	_ "embed" // for the sample configuration
	"fmt"
	"time"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "tsl2591",
		Doc:    "ams TSL2591 on I²C: illuminance over a wide range",
		Sample: sample,
		New: func() sensors.Config {
			return &Config{Bus: "1", Gain: "auto", IntegrationTime: quantity.Duration{Duration: 100 * time.Millisecond}}
		},

		Addresses: []uint16{address},
		Identify:  identify,
	}
}

// Config is the driver's part of a [[sensor]] table. There is no key for the address: the chip has only one.
type Config struct {
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
	// Gain is "low", "medium", "high", "max" or, the default, "auto": the one that suits the light.
	Gain string `toml:"gain"`
	// IntegrationTime is how long the chip counts: 100ms (default) to 600ms in steps of 100ms. Longer is finer in the dark.
	IntegrationTime quantity.Duration `toml:"integration_time"`
	// Raw adds what the two diodes counted. Default false.
	Raw bool `toml:"raw"`
}

var _ sensors.Placed = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
	if _, ok := gainOf(c.Gain); !ok && c.Gain != "auto" {
		bad("gain", fmt.Sprintf(`want "auto", "low", "medium", "high" or "max", got %q`, c.Gain))
	}
	if t := c.IntegrationTime.Duration; c.IntegrationTime.Problem() == "" && (t < step || t > maxSteps*step || t%step != 0) {
		bad("integration_time", fmt.Sprintf("want 100ms, 200ms, 300ms, 400ms, 500ms or 600ms, got %s", t))
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{I2C: c.Bus, Address: address} }

// Open finds the chip and switches it off.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, address)
	if err != nil {
		return nil, fmt.Errorf("tsl2591: %w", err)
	}
	d := &device{bus: bus, steps: int(c.IntegrationTime.Duration / step), raw: c.Raw}
	g, fixed := gainOf(c.Gain)
	d.low, d.high, d.gain = g, g, g
	if !fixed {
		d.low, d.high, d.gain = gainLow, gainMax, gainMedium
	}
	if err := d.identify(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
