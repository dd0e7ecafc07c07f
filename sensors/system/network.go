package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"iotagent/sensors"
)

// counters are the bytes of one interface or of several.
type counters struct{ receive, transmit uint64 }

// network counts the configured interfaces one by one, or otherwise all of them together.
func (d *device) network() (samples []sensors.Sample, missing []error) {
	if len(d.cfg.Interfaces) == 0 {
		if sum, ok := d.together(); ok {
			samples = sum.samples("")
		}
		return samples, nil
	}
	for _, name := range d.cfg.Interfaces {
		c, ok := d.count(name)
		if !ok {
			missing = append(missing, fmt.Errorf("network interface %s: not there, or without counters", name))
			continue
		}
		samples = append(samples, c.samples(name)...)
	}
	return samples, missing
}

// together adds up the interfaces with hardware, so that a bridge or a tunnel does not count the same bytes twice; where none
// has any, as in a container, all but lo. A sum that lacks one of them would look as if the counter had gone back: it is none.
func (d *device) together() (sum counters, ok bool) {
	entries, err := os.ReadDir(d.path("sys/class/net"))
	if err != nil {
		return sum, false
	}
	var hardware, others []string
	for _, e := range entries {
		name := e.Name()
		if _, err := os.Stat(d.path(filepath.Join("sys/class/net", name, "statistics"))); err != nil || name == "lo" {
			continue // lo, or a file such as bonding_masters
		}
		others = append(others, name)
		if _, err := os.Stat(d.path(filepath.Join("sys/class/net", name, "device"))); err == nil {
			hardware = append(hardware, name)
		}
	}
	if len(hardware) == 0 {
		hardware = others
	}
	for _, name := range hardware {
		c, ok := d.count(name)
		if !ok {
			return sum, false
		}
		sum.receive += c.receive
		sum.transmit += c.transmit
	}
	return sum, len(hardware) > 0
}

// count reads both counters of one interface.
func (d *device) count(iface string) (c counters, ok bool) {
	dir := filepath.Join("sys/class/net", iface, "statistics")
	c.receive, ok = d.counter(filepath.Join(dir, "rx_bytes"))
	if !ok {
		return c, false
	}
	c.transmit, ok = d.counter(filepath.Join(dir, "tx_bytes"))
	return c, ok
}

func (d *device) counter(path string) (uint64, bool) {
	text, err := sensors.ReadAttr(d.path(path))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}

func (c counters) samples(iface string) []sensors.Sample {
	return []sensors.Sample{
		{Name: networkName(iface, "receive"), Value: float64(c.receive)},
		{Name: networkName(iface, "transmit"), Value: float64(c.transmit)},
	}
}
