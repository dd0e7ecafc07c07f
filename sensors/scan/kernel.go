package scan

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"iotagent/sensors"
)

// OneWire is one device on a 1-Wire bus of the kernel's.
type OneWire struct {
	ID string `json:"id"`
	// Name says what devices of its family are; "" for one that is not known.
	Name string `json:"name,omitempty"`
	// Type is the driver that reads it; "" for none.
	Type string `json:"type,omitempty"`
}

// families are the devices that the first byte of an id stands for (the kernel's w1_family.h).
func families() map[string]string {
	return map[string]string{
		"00": "noise on the line, not a device",
		"01": "DS1990A or DS2401, a serial number", "05": "DS2405, a switch", "10": "DS18S20 or DS1820, temperature", "12": "DS2406, a switch",
		"1c": "DS28E04, memory and a switch", "1d": "DS2423, a counter", "19": "DS28E17, a bridge to I²C", "20": "DS2450, a converter",
		"22": "DS1822, temperature", "23": "DS2433, memory", "26": "DS2438, a battery monitor", "28": "DS18B20, temperature",
		"29": "DS2408, a switch", "2d": "DS2431, memory", "3a": "DS2413, a switch", "3b": "DS1825 or MAX31850, temperature",
		"42": "DS28EA00, temperature", "43": "DS28EC20, memory",
	}
}

// oneWire lists what the kernel has found on its 1-Wire buses.
func (m *machine) oneWire(context.Context) part {
	var p part
	readable := map[string]string{}
	for _, d := range m.finders() {
		for _, f := range d.Find(m.root) {
			if isOneWire(f.Device) {
				readable[f.Device] = d.Type
				p.blocks = append(p.blocks, block{
					driver: d, cfg: f.Config, name: strings.ToLower(f.Chip) + "-" + f.Device[len("28-"):], sure: true,
					note: fmt.Sprintf("%s on 1-Wire", f.Chip),
				})
			}
		}
	}
	var found []OneWire
	masters := 0
	for _, dir := range m.glob("sys/bus/w1/devices/*") {
		id := filepath.Base(dir)
		switch {
		case strings.HasPrefix(id, "w1_bus_master"):
			masters++
		case isOneWire(id):
			found = append(found, OneWire{ID: id, Name: families()[id[:2]], Type: readable[id]})
		}
	}
	p.advice = m.oneWireAdvice(masters, len(found))
	p.into = func(r *Report) { r.OneWire = found }
	return p
}

func isOneWire(name string) bool {
	return regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{12}$`).MatchString(name)
}

// finders are the drivers that the kernel has an answer for.
func (m *machine) finders() []sensors.Driver {
	return slices.DeleteFunc(slices.Clone(m.Drivers), func(d sensors.Driver) bool { return d.Find == nil })
}

// measured lists what kernel drivers measure. What is on 1-Wire stands there.
func (m *machine) measured(context.Context) part {
	var p part
	var all []Measured
	for _, d := range m.finders() {
		for _, f := range d.Find(m.root) {
			if isOneWire(f.Device) {
				continue
			}
			all = append(all, Measured{Type: d.Type, Chip: f.Chip, Device: f.Device, Channels: f.Channels})
			note := "measured by a kernel driver: " + strings.Join(f.Channels, ", ")
			if !isOnABus(f.Device) {
				note = "a part of the board, " + note
			}
			// Boards measure much of themselves, which nobody wants to send; a chip on a bus was put there to be read.
			p.blocks = append(p.blocks, block{
				driver: d, cfg: f.Config, name: f.Chip + "-" + f.Device, sure: isOnABus(f.Device),
				note: note,
			})
		}
	}
	p.into = func(r *Report) { r.Kernel = all }
	return p
}

// isOnABus tells a device on I²C ("1-0048") or SPI ("spi0.1") from a part of the board.
func isOnABus(device string) bool {
	return regexp.MustCompile(`^([0-9]+-[0-9a-f]{4}|spi[0-9]+\.[0-9]+)$`).MatchString(device)
}
