package scan

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

// Port is an SPI or serial port.
type Port struct {
	// Path is the device file, by the name that survives plugging in another way, where it has one.
	Path string `json:"path"`
	// Device is the device file itself, when Path is a link to it.
	Device string `json:"device,omitempty"`
	// Types are the drivers whose devices can be there.
	Types []string `json:"types,omitempty"`
	// Note says what else is known, for a person.
	Note string `json:"note,omitempty"`
}

// typesOf are the drivers whose line of documentation has a word.
func (m *machine) typesOf(word string) []string {
	var types []string
	for _, d := range m.Drivers {
		if strings.Contains(d.Doc, word) {
			types = append(types, d.Type)
		}
	}
	return types
}

// usable says why a device file cannot be opened for reading and writing.
func usable(path string) error { return unix.Access(path, unix.R_OK|unix.W_OK) }

// closed adds to a port that this user may not open it, and to the part which group may.
func (m *machine) closed(p *part, port *Port, group string) {
	if err := m.Usable(port.Path); errors.Is(err, fs.ErrPermission) {
		port.Note = strings.TrimPrefix(port.Note+"; this user may not open it", "; ")
		p.lacking = append(p.lacking, group)
	}
}

// spi lists the ports that no kernel driver has.
func (m *machine) spi(context.Context) part {
	var p part
	var ports []Port
	for _, path := range m.glob("dev/spidev*.*") {
		port := Port{Path: path, Types: m.typesOf("on SPI")}
		m.closed(&p, &port, "spi")
		port.Path = "/" + m.rel(path)
		ports = append(ports, port)
	}
	taken := 0
	for _, dir := range m.glob("sys/bus/spi/devices/spi*.*") {
		driver, err := os.Readlink(filepath.Join(dir, "driver"))
		if err != nil || filepath.Base(driver) == "spidev" {
			continue
		}
		taken++
		ports = append(ports, Port{Path: filepath.Base(dir), Note: "the kernel driver " + filepath.Base(driver) + " has it"})
	}
	p.advice = m.spiAdvice(len(ports)-taken, taken)
	p.into = func(r *Report) { r.SPI = ports }
	return p
}

// serial lists the ports that a Modbus adapter can be.
func (m *machine) serial(context.Context) part {
	var p part
	var ports []Port
	named := map[string]bool{}
	for _, link := range m.glob("dev/serial/by-id/*") {
		to, err := os.Readlink(link)
		if err != nil {
			continue
		}
		device := "/dev/" + filepath.Base(to)
		named[device] = true
		port := Port{Path: link, Device: device, Types: m.typesOf("Modbus")}
		m.closed(&p, &port, "dialout")
		port.Path = "/" + m.rel(link)
		ports = append(ports, port)
	}
	for _, pattern := range []string{"dev/ttyUSB*", "dev/ttyACM*", "dev/ttyAMA*", "dev/ttyS*", "dev/ttySC*"} {
		for _, path := range m.glob(pattern) {
			if device := "/" + m.rel(path); !named[device] && m.isSerial(filepath.Base(path)) {
				port := Port{Path: path, Types: m.typesOf("Modbus"), Note: m.console(filepath.Base(path))}
				m.closed(&p, &port, "dialout")
				port.Path = device
				ports = append(ports, port)
			}
		}
	}
	p.into = func(r *Report) { r.Serial = ports }
	return p
}

// isSerial tells a port with hardware behind it: the kernel makes ttyS0 to ttyS3 on any machine, and gives type 0 to those that are none.
func (m *machine) isSerial(name string) bool {
	if !regexp.MustCompile(`^ttyS[0-9]+$`).MatchString(name) {
		return true
	}
	kind, err := sensors.ReadAttr(m.path("sys/class/tty/" + name + "/type"))
	return err == nil && kind != "0"
}

// console says that a port is the kernel's console, which writes to it.
func (m *machine) console(name string) string {
	text, err := sensors.ReadAttr(m.path("sys/class/tty/console/active"))
	if err != nil {
		return ""
	}
	for _, c := range strings.Fields(text) {
		if c == name {
			return "the kernel's console writes to it; take console=" + name + " out of cmdline.txt first"
		}
	}
	return ""
}

// rel is a path as the machine itself writes it, without the first slash.
func (m *machine) rel(path string) string {
	if r, err := filepath.Rel(m.root, path); err == nil {
		return r
	}
	return strings.TrimPrefix(path, "/")
}
