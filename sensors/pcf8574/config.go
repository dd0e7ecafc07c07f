package pcf8574

import (
	"cmp"
	"context"
	_ "embed" // for the sample configuration
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "pcf8574",
		Doc:    "PCF8574, PCF8574A or PCF8575 on I²C: eight or sixteen pins as inputs",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Bus: "1", Address: 0x20, Pins: 8} },

		Addresses: []uint16{0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f},
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Bus is the I²C bus: "1", "I2C1" or "/dev/i2c-1", "1/0x70:3" behind a multiplexer. Default "1".
	Bus string `toml:"bus"`
	// Address is 0x20 (pins A0 to A2 at ground, the default) to 0x27, or 0x38 to 0x3f for a PCF8574A.
	Address int `toml:"address"`
	// Pins is how many the chip has: 8 (default) or, a PCF8575, 16.
	Pins int `toml:"pins"`
	// Inputs are the pins to read, by name: door = 0 makes a value called door_state of pin P0. A PCF8575's P10 to P17 are 8 to 15. None, the default,
	// means all, called p0 and so on.
	Inputs map[string]int `toml:"inputs"`
	// ActiveLow says that a pin at ground counts as 1. Default false.
	ActiveLow bool `toml:"active_low"`
	// Latch is written to the chip before each reading: a 1 at every input, and what the other pins are to be. Without it nothing is written.
	Latch *int `toml:"latch"`
}

var _ sensors.Placed = (*Config)(nil)

// input is one pin and what its value is called.
type input struct {
	sample string
	pin    int
}

// suffix is what sample names end in; the configuration leaves it out.
const suffix = "_state"

// inputs returns what to read, in the order of the pins.
func (c *Config) inputs() []input {
	var all []input
	for name, pin := range c.Inputs {
		all = append(all, input{name + suffix, pin})
	}
	if len(c.Inputs) == 0 {
		for pin := range c.Pins {
			all = append(all, input{fmt.Sprintf("p%d%s", pin, suffix), pin})
		}
	}
	slices.SortFunc(all, func(a, b input) int { return cmp.Compare(a.pin, b.pin) })
	return all
}

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if _, err := sensors.ParseI2C(c.Bus); err != nil {
		bad("bus", err.Error())
	}
	a := c.Address
	switch {
	case (a < 0x20 || a > 0x27) && (a < 0x38 || a > 0x3f):
		bad("address", fmt.Sprintf("want 0x20 to 0x27, or 0x38 to 0x3f for a PCF8574A, got 0x%02x", a))
	case a >= 0x38 && c.Pins == 16:
		bad("address", fmt.Sprintf("want 0x20 to 0x27 for a PCF8575, which has 16 pins, got 0x%02x", a))
	}
	if c.Pins != 8 && c.Pins != 16 {
		bad("pins", fmt.Sprintf("want 8 or, for a PCF8575, 16, got %d", c.Pins))
		return
	}
	c.validateInputs(bad)
	c.validateLatch(bad)
}

func (c *Config) validateInputs(bad func(key, msg string)) {
	word := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	taken := map[int]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Inputs)) {
		key, pin := "inputs."+name, c.Inputs[name]
		switch {
		case !word.MatchString(name):
			bad(key, fmt.Sprintf("want a name in lower case words, such as \"back_door\", got %q", name))
		case strings.HasSuffix(name, suffix):
			bad(key, fmt.Sprintf("leave %s out, it is added", suffix))
		case pin < 0 || pin >= c.Pins:
			bad(key, fmt.Sprintf("want a pin from 0 to %d, got %d", c.Pins-1, pin))
		case taken[pin] != "":
			bad(key, fmt.Sprintf("pin %d is the input %q already", pin, taken[pin]))
		default:
			taken[pin] = name
		}
	}
}

func (c *Config) validateLatch(bad func(key, msg string)) {
	if c.Latch == nil {
		return
	}
	if *c.Latch < 0 || *c.Latch >= 1<<c.Pins {
		bad("latch", fmt.Sprintf("want 0 to 0x%x, a bit for each pin, got %d", 1<<c.Pins-1, *c.Latch))
		return
	}
	for _, in := range c.inputs() {
		if in.pin >= 0 && in.pin < c.Pins && *c.Latch>>in.pin&1 == 0 {
			bad("latch", fmt.Sprintf("want a 1 at bit %d, which is an input: a pin that is held low cannot be read", in.pin))
			return
		}
	}
}

// Place says where the chip is. Several sensors may each have some of its inputs: a reading is one transaction, unless a latch is written first.
func (c *Config) Place() sensors.Place {
	return sensors.Place{I2C: c.Bus, Address: c.Address, Shared: c.Latch == nil}
}

// Open finds out whether anything answers. What it is cannot be known.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	bus, err := sensors.OpenI2C(hw, c.Bus, uint16(c.Address))
	if err != nil {
		return nil, fmt.Errorf("pcf8574: %w", err)
	}
	d := &device{bus: bus, name: "pcf8574", pins: c.Pins, inputs: c.inputs(), activeLow: c.ActiveLow}
	if c.Pins == 16 {
		d.name = "pcf8575"
	}
	if c.Latch != nil {
		d.latch = pinBytes(*c.Latch, c.Pins)
	}
	if _, err := d.levels(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
