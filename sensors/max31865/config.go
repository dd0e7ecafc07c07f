package max31865

import (
	"context"
	_ "embed" // for the sample configuration
	"fmt"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "max31865",
		Doc:    "Maxim MAX31865 on SPI: PT100 and PT1000 resistance thermometers",
		Sample: sample,
		New: func() sensors.Config {
			return &Config{Port: "0.0", Wires: 3, R0Ohms: 100, ReferenceOhms: 430, MainsHz: 50}
		},
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Port is the SPI bus and its chip select: "0.0" (default), "SPI0.1" or "/dev/spidev0.1".
	Port string `toml:"port"`
	// Wires is how many lead to the thermometer: 2, 3 (default) or 4. The board's jumpers must agree.
	Wires int `toml:"wires"`
	// R0Ohms is the thermometer's resistance at 0 °C: 100 for a PT100 (default), 1000 for a PT1000.
	R0Ohms float64 `toml:"r0_ohms"`
	// ReferenceOhms is the reference resistor: 430 (default) on most boards for PT100, 4300 for PT1000, 400 or 4000 on some.
	ReferenceOhms float64 `toml:"reference_ohms"`
	// MainsHz is the hum that the filter takes out: 50 (default) or 60.
	MainsHz int `toml:"mains_hz"`
}

var _ sensors.Placed = (*Config)(nil)

// maxOhms is more than any platinum thermometer has.
const maxOhms = 100e3

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseSPI(c.Port); err != nil {
		bad("port", err.Error())
	}
	if c.Wires < 2 || c.Wires > 4 {
		bad("wires", fmt.Sprintf("want 2, 3 or 4, got %d", c.Wires))
	}
	r0OK := c.R0Ohms >= 10 && c.R0Ohms <= maxOhms // false for NaN
	if !r0OK {
		bad("r0_ohms", fmt.Sprintf("want ohms at 0 °C, 100 for a PT100 or 1000 for a PT1000, got %g", c.R0Ohms))
	}
	if r0OK && !(c.ReferenceOhms > c.R0Ohms && c.ReferenceOhms <= maxOhms) {
		bad("reference_ohms", fmt.Sprintf("want the reference resistor in ohms, more than r0_ohms (%g) and at most %g, got %g; "+
			"430 is usual for a PT100, 4300 for a PT1000", c.R0Ohms, maxOhms, c.ReferenceOhms))
	}
	if c.MainsHz != 50 && c.MainsHz != 60 {
		bad("mains_hz", fmt.Sprintf("want 50 or 60, got %d", c.MainsHz))
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{SPI: c.Port} }

// Open finds the chip and makes its settings.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenSPI(hw, c.Port, physic.MegaHertz, spi.Mode1)
	if err != nil {
		return nil, fmt.Errorf("max31865: %w", err)
	}
	d := &device{bus: bus, base: c.base(), conversion: c.conversionTime(), rtd: rtd{r0: c.R0Ohms, reference: c.ReferenceOhms}}
	if err := d.setUp(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
