// Package system reads the gateway itself: temperature of the processor, load, memory, disks, network, uptime.
//
// # Sources
//
// The kernel's documentation: filesystems/proc.rst, driver-api/thermal/sysfs-api.rst, hwmon/sysfs-interface.rst,
// ABI/testing/sysfs-class-net-statistics.
//
// # Wiring
//
// None: everything comes from the kernel.
//
// # Units
//
//   - cpu_temperature_celsius: °C, the hottest sensor of the processor; from its thermal zones, otherwise from hwmon
//   - load_1m, load_5m, load_15m: mean number of runnable tasks
//   - memory_total_bytes, memory_available_bytes, memory_used_bytes: used is total less available
//   - disk_used_bytes, disk_free_bytes: of the file system of /; free is what an ordinary user may still fill. Other paths are in the
//     name: disk_var_lib_used_bytes
//   - network_receive_bytes, network_transmit_bytes: counters since the interfaces came up, together over those with hardware behind
//     them, or over all but lo where none has; configured interfaces are in the name: network_eth0_receive_bytes
//   - uptime_seconds: since boot
//
// # Timing
//
// A reading takes well under a millisecond, unless a path lies on a network file system that does not answer.
//
// # Quirks
//
// What a machine does not have, or answers with nonsense, is left out. A value is never guessed. Nothing at all is an error. A path or an interface that the
// configuration names and that is not there, such as a modem which is off, makes the reading "partial", with its name in the reason. The folder
// of a disk that is not mounted has the numbers of the file system it lies on.
package system

import (
	"context"
	_ "embed" // for the sample configuration
	"fmt"
	"os"
	"path/filepath"
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
		Type:   "system",
		Doc:    "this machine: CPU temperature, load, memory, disk, network, uptime",
		Sample: sample,
		New:    func() sensors.Config { return &Config{Paths: []string{"/"}} },
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Paths are folders whose file systems are watched. Default ["/"]; an empty list watches none.
	Paths []string `toml:"paths"`
	// Interfaces are counted one by one. Empty, the default, counts all that have hardware together.
	Interfaces []string `toml:"interfaces"`
}

var _ sensors.Config = (*Config)(nil)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	var names []string
	for _, p := range c.Paths {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p {
			bad("paths", fmt.Sprintf("want an absolute path without . or .. or a slash at its end, got %q", p))
			continue
		}
		name := diskName(p, "used")
		if slices.Contains(names, name) {
			bad("paths", fmt.Sprintf("%q would have the name %s, which another path has", p, name))
		}
		names = append(names, name)
	}
	for _, i := range c.Interfaces {
		if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`).MatchString(i) {
			bad("interfaces", fmt.Sprintf("want names of network interfaces such as \"eth0\", got %q", i))
			continue
		}
		name := networkName(i, "receive")
		if slices.Contains(names, name) {
			bad("interfaces", fmt.Sprintf("%q would have the name %s, which another interface has", i, name))
		}
		names = append(names, name)
	}
}

// Open makes sure that there is a /proc.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("system: %w", err)
	}
	proc := filepath.Join(hw.Root(), "proc")
	if _, err := os.Stat(proc); err != nil {
		return nil, fmt.Errorf("system: %s is not mounted: %w: %w", proc, sensors.ErrAbsent, err)
	}
	return &device{cfg: c, root: hw.Root()}, nil
}

// diskName is stable for a path: disk_used_bytes for /, disk_var_lib_used_bytes for /var/lib.
func diskName(path, what string) string { return name("disk", path, what) }

// networkName is stable for an interface: network_eth0_receive_bytes; network_receive_bytes without one.
func networkName(iface, what string) string { return name("network", iface, what) }

func name(kind, which, what string) string {
	words := strings.FieldsFunc(strings.ToLower(which), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return strings.Join(slices.Concat([]string{kind}, words, []string{what, "bytes"}), "_")
}
