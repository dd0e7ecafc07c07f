package scd4x

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
		Type:   "scd4x",
		Doc:    "Sensirion SCD40, SCD41 or SCD43 on I²C: CO₂, temperature, humidity",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Bus: "1", Mode: "periodic"} },

		Addresses: []uint16{address},
		Identify:  identify,
	}
}

// Config is the driver's part of a [[sensor]] table. There is no key for the address: the chip has only one. What is nil stays as the
// chip's EEPROM has it.
type Config struct {
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
	// Mode is "periodic" (a measurement every 5 s, the default), "low-power" (every 30 s) or "single-shot" (one for each reading; not with
	// an SCD40).
	Mode string `toml:"mode"`
	// TemperatureOffset is how much warmer the chip is than the air, 0..20 °C. The EEPROM's is 4 when the chip is new.
	TemperatureOffset *float64 `toml:"temperature_offset_celsius"`
	// Altitude is where the chip is, 0..3000 m above the sea. The EEPROM's is 0 when the chip is new.
	Altitude *int `toml:"altitude_meters"`
	// Pressure is that of the air, 70000..120000 Pa, not reduced to sea level; it goes before Altitude.
	Pressure *float64 `toml:"pressure_pascals"`
	// SelfCalibration says whether the chip takes the lowest value of a week for 400 ppm. The EEPROM's is true when the chip is new.
	SelfCalibration *bool `toml:"self_calibration"`
}

var _ sensors.Placed = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
	if _, ok := modeOf(c.Mode); !ok {
		bad("mode", fmt.Sprintf(`want "periodic", "low-power" or "single-shot", got %q`, c.Mode))
	}
	if t := c.TemperatureOffset; t != nil && !(*t >= 0 && *t <= 20) { // true for NaN
		bad("temperature_offset_celsius", fmt.Sprintf("want 0..20, how much warmer the chip is than the air, got %g", *t))
	}
	if a := c.Altitude; a != nil && (*a < 0 || *a > 3000) {
		bad("altitude_meters", fmt.Sprintf("want 0..3000, got %d", *a))
	}
	if p := c.Pressure; p != nil && !(*p >= 70000 && *p <= 120000) {
		bad("pressure_pascals", fmt.Sprintf("want 70000..120000 Pa (one hPa is 100 Pa), got %g", *p))
	}
	if c.Pressure != nil && c.Altitude != nil {
		bad("altitude_meters", "has no effect beside pressure_pascals: leave one of them out")
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{I2C: c.Bus, Address: address} }

// Open finds the chip, makes its settings and starts it.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, address)
	if err != nil {
		return nil, fmt.Errorf("scd4x: %w", err)
	}
	m, ok := modeOf(c.Mode)
	if !ok {
		return nil, fmt.Errorf("scd4x: mode %q is none", c.Mode)
	}
	d := &device{bus: bus, mode: m, settings: c.settings()}
	if err := d.setUp(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
