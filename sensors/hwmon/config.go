package hwmon

import (
	"context"
	_ "embed" // for the sample configuration
	"fmt"
	"slices"
	"strings"
	"unicode"

	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "hwmon",
		Doc:    "any hardware monitor that the kernel drives: temperature, voltage, current, power, energy, humidity, fans",
		Sample: sample,
		New:    func() sensors.Config { return &Config{} },
		Find:   findAll,
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Chip is what the kernel calls it, the text of /sys/class/hwmon/hwmonN/name: "ina226". "", the default, means any.
	Chip string `toml:"chip"`
	// Device is where it is, the last part of what /sys/class/hwmon/hwmonN/device points to: "1-0040". It tells chips of one name
	// apart. "", the default, means anywhere.
	Device string `toml:"device"`
	// Channels are what to read, by file name without _input ("temp1") or by label ("Core 0"). Empty, the default, means all that work.
	Channels []string `toml:"channels"`
}

var _ sensors.Config = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if !isName(c.Chip) {
		bad("chip", fmt.Sprintf("want the text of a file /sys/class/hwmon/hwmon*/name, such as \"ina226\", got %q", c.Chip))
	}
	if !isName(c.Device) {
		bad("device", fmt.Sprintf("want the last part of what /sys/class/hwmon/hwmon*/device points to, such as \"1-0040\", got %q", c.Device))
	}
	for i, name := range c.Channels {
		switch {
		case name == "" || strings.TrimSpace(name) != name || strings.ContainsFunc(name, unicode.IsControl):
			bad("channels", fmt.Sprintf("want channels such as \"temp1\", or their labels, got %q", name))
		case strings.HasSuffix(name, "_input"):
			bad("channels", fmt.Sprintf("want %q without _input", name))
		case slices.Contains(c.Channels[:i], name):
			bad("channels", fmt.Sprintf("%q stands twice", name))
		}
	}
}

// isName reports whether s can be the name of a chip or of a device's folder, or is empty.
func isName(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) })
}

// Open finds the chip and its channels. It does not read them.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("hwmon: %w", err)
	}
	m, err := c.find(hw.Root())
	if err != nil {
		return nil, fmt.Errorf("hwmon: %w", err)
	}
	d := &device{monitor: m, chosen: len(c.Channels) > 0, attr: sensors.ReadAttr}
	all, err := channels(m.files)
	if err == nil {
		d.channels, err = c.choose(all)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
