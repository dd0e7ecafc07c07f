package iio

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
		Type:   "iio",
		Doc:    "any industrial I/O device that the kernel drives: voltage, current, temperature, pressure, humidity, light, gas",
		Sample: sample,
		New:    func() sensors.Config { return &Config{} },
		Find:   findAll,
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Chip is what the kernel calls it, the text of /sys/bus/iio/devices/iio:deviceN/name or of label beside it: "ads1115". "", the
	// default, means any.
	Chip string `toml:"chip"`
	// Device is where it is, the folder that holds iio:deviceN: "1-0048". It tells chips of one name apart. "", the default, means
	// anywhere.
	Device string `toml:"device"`
	// Channels are what to read, by file name without in_ and _raw or _input ("voltage0") or by label. Empty, the default, means all
	// whose unit is known.
	Channels []string `toml:"channels"`
}

var _ sensors.Config = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if c.Chip != strings.TrimSpace(c.Chip) || strings.ContainsFunc(c.Chip, unicode.IsControl) {
		bad("chip", fmt.Sprintf("want the text of a file /sys/bus/iio/devices/iio:device*/name, such as \"ads1115\", got %q", c.Chip))
	}
	if strings.ContainsFunc(c.Device, func(r rune) bool { return r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) }) {
		bad("device", fmt.Sprintf("want the name of the folder that holds iio:device*, such as \"1-0048\", got %q", c.Device))
	}
	for i, name := range c.Channels {
		switch {
		case name == "" || strings.TrimSpace(name) != name || strings.ContainsFunc(name, unicode.IsControl):
			bad("channels", fmt.Sprintf("want channels such as \"voltage0\", or their labels, got %q", name))
		case strings.HasPrefix(name, "in_"):
			bad("channels", fmt.Sprintf("want what stands between in_ and _raw or _input, such as \"voltage0\", got %q", name))
		case slices.Contains(c.Channels[:i], name):
			bad("channels", fmt.Sprintf("%q stands twice", name))
		}
	}
}

// Open finds the device and its channels. It does not read them.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("iio: %w", err)
	}
	p, err := c.find(hw.Root())
	if err != nil {
		return nil, fmt.Errorf("iio: %w", err)
	}
	d := &device{place: p, attr: sensors.ReadAttr}
	all, err := channels(p.dir)
	if err == nil {
		err = p.trusted(all)
	}
	if err == nil {
		d.channels, err = c.choose(all)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}
