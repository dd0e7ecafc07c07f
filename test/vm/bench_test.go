//go:build vmguest

// Package vm holds what runs in the virtual machine of run.sh: the built iotagent in front of an I²C bus of the kernel's, with simulated
// chips on it that break on demand.
package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"iotagent/test/vm/simi2c"
)

// Where the chips of a bench are.
const (
	addrBMP    = 0x76
	addrBridge = 0x18
	addrPort   = 0x21
	addrEEPROM = 0x50
)

// bench is a plugged-in adapter with its chips.
type bench struct {
	t           *testing.T
	adapter     simi2c.Adapter
	plug        *simi2c.Plug
	bus         int
	bmp         *simi2c.BMP280
	thermometer *simi2c.DS18B20
	port        *simi2c.PCF8574
}

// newBench plugs in an adapter, and pulls it out when the test ends.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		t: t, bmp: simi2c.NewBMP280(), port: simi2c.NewPCF8574(),
		thermometer: simi2c.NewDS18B20([6]byte{0x33, 0x22, 0x11, 0xcc, 0xbb, 0xaa}),
	}
	b.adapter.Put(addrBMP, b.bmp)
	b.adapter.Put(addrBridge, simi2c.NewDS2482(b.thermometer))
	b.adapter.Put(addrPort, b.port)
	b.adapter.Put(addrEEPROM, &simi2c.EEPROM{})
	b.plugIn()
	t.Cleanup(b.unplug)
	return b
}

// plugIn plugs the adapter in and waits for its bus.
func (b *bench) plugIn() {
	b.t.Helper()
	plug, err := simi2c.PlugIn(&b.adapter, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	b.plug = plug
	until(b.t, "the adapter's bus", 20*time.Second, func() (ok bool) {
		b.bus, ok = simi2c.Bus()
		return ok
	})
}

// unplug pulls the adapter out, if it is in, and waits until its bus is gone.
func (b *bench) unplug() {
	b.t.Helper()
	if b.plug == nil {
		return
	}
	if err := b.plug.Unplug(); err != nil {
		b.t.Error(err)
	}
	b.plug = nil
	until(b.t, "the end of the adapter's bus", 20*time.Second, func() bool {
		_, ok := simi2c.Bus()
		return !ok
	})
}

// bind gives the chip at addr to a driver of the kernel's until the test ends, or until the function returned is called.
func (b *bench) bind(chip string, addr uint16) (unbind func()) {
	b.t.Helper()
	dir := fmt.Sprintf("/sys/bus/i2c/devices/i2c-%d/", b.bus)
	write(b.t, dir+"new_device", fmt.Sprintf("%s 0x%02x", chip, addr))
	bound := true
	unbind = func() {
		if bound {
			write(b.t, dir+"delete_device", fmt.Sprintf("0x%02x", addr))
		}
		bound = false
	}
	b.t.Cleanup(unbind)
	if _, err := os.Stat(fmt.Sprintf("/sys/bus/i2c/devices/%d-%04x/driver", b.bus, addr)); err != nil {
		b.t.Fatalf("no driver took the %s: %v", chip, err)
	}
	return unbind
}

// thermometerID waits for the thermometer behind the bridge and returns its name in the kernel's tree.
func (b *bench) thermometerID() (id string) {
	b.t.Helper()
	until(b.t, "a DS18B20 in /sys/bus/w1/devices", time.Minute, func() bool {
		found, err := filepath.Glob("/sys/bus/w1/devices/28-*/w1_slave")
		if err != nil || len(found) == 0 {
			return false
		}
		id = filepath.Base(filepath.Dir(found[0]))
		return true
	})
	return id
}

// stopSearching ends the search for 1-Wire devices, which otherwise keeps an emulated processor busy for a second of every ten.
func (b *bench) stopSearching() {
	b.t.Helper()
	masters, err := filepath.Glob("/sys/bus/w1/devices/w1_bus_master*/w1_master_search")
	if err != nil || len(masters) != 1 {
		b.t.Fatalf("the bridge's master: %q, %v", masters, err)
	}
	write(b.t, masters[0], "0")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Error(err)
	}
}

// until waits for something that the kernel or another process does.
func until(t *testing.T, what string, limit time.Duration, happened func() bool) {
	t.Helper()
	began := time.Now()
	for tick := time.Tick(50 * time.Millisecond); !happened(); <-tick {
		if time.Since(began) > limit {
			t.Fatalf("waited %v in vain for %s", limit, what)
		}
	}
	t.Logf("%s after %v", what, time.Since(began).Round(time.Millisecond))
}

// uptime is the kernel's, in seconds.
func uptime(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	s, err := strconv.ParseFloat(first, 64)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
