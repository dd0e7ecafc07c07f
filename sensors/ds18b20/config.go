package ds18b20

import (
	"context"
	_ "embed" // for the sample configuration
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "ds18b20",
		Doc:    "Maxim DS18B20 on 1-Wire, through the kernel: temperature",
		Sample: sample,
		New:    func() sensors.Config { return &Config{} },
		Find:   find,
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// ID is the sensor's folder below /sys/bus/w1/devices: "28-0316a2794bff". "", the default, means the only one.
	ID string `toml:"id"`
}

var _ sensors.Config = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if c.ID != "" && !isID(c.ID) {
		bad("id", fmt.Sprintf("want 28- and 12 hexadecimal digits in lower case, as listed in /sys/bus/w1/devices, got %q", c.ID))
	}
}

func isID(name string) bool { return regexp.MustCompile(`^28-[0-9a-f]{12}$`).MatchString(name) }

// Open finds the sensor in the kernel's tree. It does not read it.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("ds18b20: %w", err)
	}
	tree := filepath.Join(hw.Root(), "sys/bus/w1/devices")
	found, err := list(tree)
	if err != nil {
		return nil, fmt.Errorf("ds18b20: %w", err)
	}
	id := c.ID
	if id == "" {
		if len(found) != 1 {
			return nil, fmt.Errorf("ds18b20: %d sensors on the bus, say which one with id = %q (found: %s)", len(found), found[0], strings.Join(found, ", "))
		}
		id = found[0]
	}
	d := &device{id: id, dir: filepath.Join(tree, id), attr: sensors.ReadAttr}
	if _, err := os.Stat(d.dir); err != nil {
		return nil, fmt.Errorf("%s: not on the bus (found: %s); check its wiring, a new sensor takes 10 s to appear: %w",
			d, strings.Join(found, ", "), sensors.ErrAbsent)
	}
	return d, nil
}

// list returns the sensors of this kind that the kernel has found; at least one.
func list(tree string) ([]string, error) {
	entries, err := os.ReadDir(tree)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: the kernel has no 1-Wire; on a Raspberry Pi add dtoverlay=w1-gpio to "+
			"/boot/firmware/config.txt and reboot: %w", tree, sensors.ErrAbsent)
	}
	if err != nil {
		return nil, err
	}
	var found []string
	noise := ""
	for _, e := range entries {
		switch {
		case isID(e.Name()):
			found = append(found, e.Name())
		case strings.HasPrefix(e.Name(), "00-"):
			noise = " (what is listed as 00-… is noise on the line)"
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no DS18B20 in %s%s: check the wiring and the 4.7 kΩ resistor from data to supply: %w", tree, noise, sensors.ErrAbsent)
	}
	return found, nil
}
