package scan

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// lacking gathers the groups that would open what was closed.
type lacking struct{ groups []string }

func (l *lacking) add(groups []string) {
	for _, g := range groups {
		if !slices.Contains(l.groups, g) {
			l.groups = append(l.groups, g)
		}
	}
	slices.Sort(l.groups)
}

// advice is one command for all of them.
func (l *lacking) advice(user string) []string {
	if len(l.groups) == 0 {
		return nil
	}
	groups := strings.Join(l.groups, ",")
	return []string{fmt.Sprintf("not everything could be looked at: sudo usermod -aG %s %s, then log in again; or run the scan with sudo "+
		"(the service's own user: sudo usermod -aG %s iotagent)", groups, user, groups)}
}

// onPi reports whether the board is a Raspberry Pi, where buses are switched on in a file.
func (m *machine) onPi() bool { return strings.Contains(m.board(), "Raspberry Pi") }

// bootConfig is that file. It moved in Debian 12.
func (m *machine) bootConfig() string {
	for _, p := range []string{"/boot/firmware/config.txt", "/boot/config.txt"} {
		if _, err := os.Stat(m.path(p)); err == nil {
			return p
		}
	}
	return "/boot/firmware/config.txt"
}

// switchedOn is how a line of that file is added, in the way that people know, where there is one.
func (m *machine) switchedOn(line, raspiConfig string) string {
	text := fmt.Sprintf("add %s to %s and reboot", line, m.bootConfig())
	if raspiConfig != "" {
		text += " (or: sudo raspi-config nonint " + raspiConfig + " 0)"
	}
	return text
}

// i2cAdvice is about buses that are not there; unreachable ones have no device file.
func (m *machine) i2cAdvice(buses, unreachable int) []string {
	switch {
	case unreachable > 0:
		return []string{"i2c: the kernel has a bus but no /dev/i2c-* for it: sudo modprobe i2c-dev; for every boot: echo i2c-dev | sudo tee /etc/modules-load.d/i2c-dev.conf"}
	case buses > 0:
		return nil
	case m.onPi():
		return []string{"i2c: no bus is switched on: " + m.switchedOn("dtparam=i2c_arm=on", "do_i2c")}
	}
	return []string{"i2c: this machine has no bus; an adapter on USB or the board's overlay makes one, and sudo modprobe i2c-dev shows it"}
}

func (m *machine) oneWireAdvice(masters, devices int) []string {
	switch {
	case devices > 0:
		return nil
	case masters > 0:
		return []string{"1-wire: there is a bus, but nothing on it: check the wiring and the 4.7 kΩ resistor from data to supply; a new device takes 10 s to appear"}
	case m.onPi():
		return []string{"1-wire: no bus is switched on: " + m.switchedOn("dtoverlay=w1-gpio", "do_onewire")}
	}
	return nil
}

// spiAdvice is about ports that are not there; those that kernel drivers have are no reason for it.
func (m *machine) spiAdvice(ports, taken int) []string {
	if ports+taken > 0 || !m.onPi() {
		return nil
	}
	return []string{"spi: no port is switched on: " + m.switchedOn("dtparam=spi=on", "do_spi")}
}
