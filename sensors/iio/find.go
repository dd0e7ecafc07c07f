package iio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"iotagent/sensors"
)

// place is one iio:deviceN.
type place struct {
	chip   string // the text of its file name
	label  string // of the whole device, from the device tree; most have none
	device string // the folder that holds it
	dir    string // iio:deviceN itself
}

// String names the chip and where it is, as a person would configure it.
func (p place) String() string { return p.chip + " at " + p.device }

// look reads who is at dir now.
func look(dir string) (place, error) {
	p := place{dir: dir}
	var err error
	if p.chip, err = sensors.ReadAttr(filepath.Join(dir, "name")); err != nil {
		return p, err
	}
	if p.chip == "" {
		return p, fmt.Errorf("%s has no name: %w", dir, sensors.ErrAbsent)
	}
	if label, err := sensors.ReadAttr(filepath.Join(dir, "label")); err == nil {
		p.label = label
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return p, err
	}
	p.device = filepath.Base(filepath.Dir(real))
	return p, nil
}

// trusted refuses a device whose driver is known to give wrong values that look right.
func (p place) trusted(all []*channel) error {
	for _, c := range all {
		if p.chip == "max31865" && c.typ == "temp" && c.offset == "" {
			return errors.New("this kernel's driver max31865 gives temperatures that are 256 °C too high, and knows no reference resistor but 400 Ω: " +
				"take its overlay out of config.txt and use type = \"max31865\"")
		}
	}
	return nil
}

// places lists all devices.
func places(root string) ([]place, error) {
	bus := filepath.Join(root, "sys/bus/iio/devices")
	entries, err := os.ReadDir(bus)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: no kernel driver has registered a device: %w", bus, sensors.ErrAbsent)
	}
	if err != nil {
		return nil, err
	}
	var seen []place
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "iio:device") {
			continue // a trigger
		}
		if p, err := look(filepath.Join(bus, e.Name())); err == nil { // otherwise it is just going
			seen = append(seen, p)
		}
	}
	return seen, nil
}

// findAll lists what the kernel drives that this driver can read.
func findAll(root string) []sensors.Found {
	seen, err := places(root)
	if err != nil {
		return nil
	}
	var found []sensors.Found
	for _, p := range seen {
		all, err := channels(p.dir)
		if err != nil || len(all) == 0 {
			continue
		}
		f := sensors.Found{Chip: p.chip, Device: p.device, Config: &Config{Chip: p.chip, Device: p.device}}
		for _, c := range all {
			f.Channels = append(f.Channels, c.key)
		}
		found = append(found, f)
	}
	return found
}

// find returns the one device that the configuration means.
func (c *Config) find(root string) (place, error) {
	seen, err := places(root)
	if err != nil {
		return place{}, err
	}
	var fit []place
	for _, p := range seen {
		if (c.Chip == "" || p.chip == c.Chip || p.label == c.Chip) && (c.Device == "" || p.device == c.Device) {
			fit = append(fit, p)
		}
	}
	switch len(fit) {
	case 1:
		return fit[0], nil
	case 0:
		return place{}, fmt.Errorf("no %s here (found: %s); is its kernel module loaded, and its overlay set? %w", c.wanted(), list(seen), sensors.ErrAbsent)
	default:
		return place{}, fmt.Errorf("%d devices fit, say which one with chip = \"…\" and device = \"…\" (found: %s)", len(fit), list(fit))
	}
}

// wanted says what was looked for.
func (c *Config) wanted() string {
	switch {
	case c.Device == "" && c.Chip == "":
		return "IIO device"
	case c.Device == "":
		return c.Chip
	case c.Chip == "":
		return "IIO device at " + c.Device
	default:
		return place{chip: c.Chip, device: c.Device}.String()
	}
}

func list(ps []place) string {
	if len(ps) == 0 {
		return "none"
	}
	var names []string
	for _, p := range ps {
		names = append(names, p.String())
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
