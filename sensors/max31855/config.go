package max31855

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
		Type:   "max31855",
		Doc:    "Maxim MAX31855 on SPI: thermocouples",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Port: "0.0", Thermocouple: "K"} },
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Port is the SPI bus and its chip select: "0.0" (default), "SPI0.1" or "/dev/spidev0.1".
	Port string `toml:"port"`
	// Thermocouple is the kind that the chip was made for: "K" (default), "J", "N", "T", "E", "S" or "R". Values beyond its range are refused.
	Thermocouple string `toml:"thermocouple"`
}

var _ sensors.Placed = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseSPI(c.Port); err != nil {
		bad("port", err.Error())
	}
	if _, ok := kindOf(c.Thermocouple); !ok {
		bad("thermocouple", fmt.Sprintf(`want "K", "J", "N", "T", "E", "S" or "R", the letter in the chip's part number, got %q`, c.Thermocouple))
	}
}

// Place says where the chip is.
func (c *Config) Place() sensors.Place { return sensors.Place{SPI: c.Port} }

// Open finds the chip, as far as that can be done. It may have a broken thermocouple.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenSPI(hw, c.Port, physic.MegaHertz, spi.Mode0)
	if err != nil {
		return nil, fmt.Errorf("max31855: %w", err)
	}
	k, ok := kindOf(c.Thermocouple)
	if !ok {
		return nil, fmt.Errorf("max31855: thermocouple %q is none", c.Thermocouple)
	}
	d := &device{bus: bus, kind: k}
	if _, err := d.read(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
