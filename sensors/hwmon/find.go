package hwmon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"iotagent/sensors"
)

// monitor is one hwmonN.
type monitor struct {
	chip   string // the text of its file name
	device string // the folder that its device points to; "" when it has none
	dir    string // hwmonN itself
	files  string // where its attributes are: dir, or dir/device for old drivers
}

// String names the chip and where it is, as a person would configure it.
func (m monitor) String() string {
	if m.device == "" {
		return m.chip
	}
	return m.chip + " at " + m.device
}

// look reads who is at dir now.
func look(dir string) (monitor, error) {
	m := monitor{dir: dir, files: dir}
	chip, err := sensors.ReadAttr(filepath.Join(dir, "name"))
	if errors.Is(err, os.ErrNotExist) {
		m.files = filepath.Join(dir, "device")
		chip, err = sensors.ReadAttr(filepath.Join(m.files, "name"))
	}
	switch {
	case err != nil:
		return m, err
	case chip == "":
		return m, fmt.Errorf("%s has no name: %w", dir, sensors.ErrAbsent)
	}
	m.chip = chip
	if to, err := filepath.EvalSymlinks(filepath.Join(dir, "device")); err == nil {
		m.device = filepath.Base(to)
	}
	return m, nil
}

// allMonitors lists all chips.
func allMonitors(root string) ([]monitor, error) {
	class := filepath.Join(root, "sys/class/hwmon")
	entries, err := os.ReadDir(class)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: no kernel driver has registered a monitor: %w", class, sensors.ErrAbsent)
	}
	if err != nil {
		return nil, err
	}
	var seen []monitor
	for _, e := range entries {
		if m, err := look(filepath.Join(class, e.Name())); err == nil { // otherwise it is just going, or is none
			seen = append(seen, m)
		}
	}
	return seen, nil
}

// findAll lists what the kernel drives that this driver can read.
func findAll(root string) []sensors.Found {
	seen, err := allMonitors(root)
	if err != nil {
		return nil
	}
	var found []sensors.Found
	for _, m := range seen {
		all, err := channels(m.files)
		if err != nil || len(all) == 0 {
			continue
		}
		f := sensors.Found{Chip: m.chip, Device: m.device, Config: &Config{Chip: m.chip, Device: m.device}}
		for _, c := range all {
			f.Channels = append(f.Channels, c.String())
		}
		found = append(found, f)
	}
	return found
}

// find returns the one chip that the configuration means.
func (c *Config) find(root string) (monitor, error) {
	seen, err := allMonitors(root)
	if err != nil {
		return monitor{}, err
	}
	var fit []monitor
	for _, m := range seen {
		if (c.Chip == "" || m.chip == c.Chip) && (c.Device == "" || m.device == c.Device) {
			fit = append(fit, m)
		}
	}
	switch len(fit) {
	case 1:
		return fit[0], nil
	case 0:
		return monitor{}, fmt.Errorf("no %s here (found: %s); is its kernel module loaded, and its overlay set? %w", c.wanted(), names(seen), sensors.ErrAbsent)
	default:
		return monitor{}, fmt.Errorf("%d chips fit, say which one with chip = \"…\" and device = \"…\" (found: %s)", len(fit), names(fit))
	}
}

// wanted says what was looked for.
func (c *Config) wanted() string {
	switch {
	case c.Chip == "" && c.Device == "":
		return "hardware monitor"
	case c.Chip == "":
		return "hardware monitor at " + c.Device
	default:
		return monitor{chip: c.Chip, device: c.Device}.String()
	}
}

func names(ms []monitor) string {
	if len(ms) == 0 {
		return "none"
	}
	var list []string
	for _, m := range ms {
		list = append(list, m.String())
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
