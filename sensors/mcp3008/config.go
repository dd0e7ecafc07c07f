package mcp3008

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
		Type:   "mcp3008",
		Doc:    "Microchip MCP3008 or MCP3004 on SPI: eight or four analog inputs, 10 bits",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Port: "0.0", VrefVolts: 3.3} },
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Port is the SPI bus and its chip select: "0.0" (default), "SPI0.1" or "/dev/spidev0.1".
	Port string `toml:"port"`
	// VrefVolts is the voltage at the pin VREF, 0.25..5.5. Default 3.3.
	VrefVolts float64 `toml:"vref_volts"`
	// AllZero says that all eight inputs may read 0 V at the same time; otherwise that is taken for a missing chip. Default false.
	AllZero bool `toml:"all_zero"`
	// Channels are read in this order. None, the default, means CH0 to CH7.
	Channels []Channel `toml:"channel"`
}

// Channel is one [[sensor.channel]] block: an input that is measured.
type Channel struct {
	// Input is "CH0" to "CH7" against ground, or the difference of a pair: "CH0-CH1", "CH1-CH0", "CH2-CH3" and so on.
	Input string `toml:"input"`
	// Name is what the value is called; it ends in _volts. Default: after the input, "ch0_volts" or "ch0_ch1_volts".
	Name string `toml:"name"`
}

var _ sensors.Placed = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseSPI(c.Port); err != nil {
		bad("port", err.Error())
	}
	if !(c.VrefVolts >= 0.25 && c.VrefVolts <= 5.5) { // true for NaN
		bad("vref_volts", fmt.Sprintf("want volts, 0.25..5.5, got %g", c.VrefVolts))
	}
	validateChannels(c.Channels, bad)
}

// Place says where the chip is. Several sensors may each have some of its inputs: a conversion is one transaction.
func (c *Config) Place() sensors.Place { return sensors.Place{SPI: c.Port, Shared: true} }

// Open finds the chip, as far as that can be done.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenSPI(hw, c.Port, physic.MegaHertz, spi.Mode0)
	if err != nil {
		return nil, fmt.Errorf("mcp3008: %w", err)
	}
	d := &device{bus: bus, vref: c.VrefVolts, allZero: c.AllZero, channels: withDefaults(c.Channels)}
	if err := d.identify(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
