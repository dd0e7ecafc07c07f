package sensors_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"

	"iotagent/sensors"
)

func TestMultiplexerOfTheKernelIsRefused(t *testing.T) {
	hw := boardWith(t, rig())
	link := func(to, name string) {
		t.Helper()
		path := filepath.Join(hw.Root(), "sys/bus/i2c/devices", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	link("../../drivers/pca954x", "1-0070/driver")
	link("../../../i2c-1/i2c-14", "1-0070/channel-3")
	link("../../drivers/bmp280", "1-0076/driver")
	for bus, want := range map[string]string{
		"1/0x70:3":        `kernel driver pca954x has the multiplexer: its channel 3 is a bus of its own, write bus = "14"`,
		"1/0x70:3/0x71:6": `write bus = "14/0x71:6"`,
		"1/0x70:4":        "ls /dev/i2c-*",
		"1/0x72:0":        "kernel driver bmp280 has a chip with this address before the multiplexer",
		"1/0x76:0":        "has this address itself",
		"1":               "kernel driver bmp280 has this chip",
	} {
		if _, err := sensors.OpenI2C(hw, bus, 0x76); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", bus, err, want)
		}
	}
}

func TestBusByName(t *testing.T) {
	root, opened := t.TempDir(), []int{}
	hw := sensors.NewHardware(root, &sensors.HardwareOptions{OpenI2C: func(n int) (i2c.BusCloser, error) {
		opened = append(opened, n)
		return &echoBus{tx: func(addr uint16) error {
			if addr == 0x7f {
				return unix.ENODEV
			}
			return nil
		}}, nil
	}})
	defer func() {
		if err := hw.Close(); err != nil {
			t.Error(err)
		}
	}()
	adapters := func(names map[int]string) {
		t.Helper()
		dir := filepath.Join(root, "sys/bus/i2c/devices")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		for n, name := range names {
			bus := filepath.Join(dir, fmt.Sprintf("i2c-%d", n))
			if err := os.MkdirAll(bus, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(bus, "name"), []byte(name+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	open := func() (*sensors.I2CDev, error) { return sensors.OpenI2C(hw, "name:i2c-tiny-usb", 0x40) }
	adapters(map[int]string{1: "bcm2835 (i2c@7e804000)"})
	if _, err := open(); !errors.Is(err, sensors.ErrAbsent) || !strings.Contains(err.Error(), `this machine has i2c-1 "bcm2835 (i2c@7e804000)"`) && !strings.Contains(err.Error(), `This machine has i2c-1`) {
		t.Errorf("without it: %v", err)
	}
	adapters(map[int]string{1: "bcm2835", 7: "i2c-tiny-usb at bus 001 device 002"})
	d, err := open()
	if err != nil || d.String() != "name:i2c-tiny-usb:0x40" {
		t.Fatal(d, err)
	}
	if err := d.Tx(t.Context(), []byte{1}, make([]byte, 2)); err != nil {
		t.Error(err)
	}
	b, err := hw.I2C("name:i2c-tiny-usb")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Tx(0x7f, []byte{1}, make([]byte, 2)); !errors.Is(err, unix.ENODEV) {
		t.Error(err)
	}
	adapters(map[int]string{1: "bcm2835"})
	if err := d.Tx(t.Context(), []byte{1}, make([]byte, 2)); !errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("unplugged: %v", err)
	}
	adapters(map[int]string{1: "bcm2835", 9: "i2c-tiny-usb at bus 001 device 003"})
	if err := d.Tx(t.Context(), []byte{1}, make([]byte, 2)); err != nil || !slices.Equal(opened, []int{7, 9}) {
		t.Errorf("plugged in again: %v, opened %v, want 7 and 9", err, opened)
	}
	adapters(map[int]string{2: "i2c-tiny-usb", 7: "i2c-tiny-usb at bus 001 device 002"})
	if d, err := open(); err != nil || d == nil {
		t.Errorf("a name that is the whole of one: %v", err)
	}
	adapters(map[int]string{3: "i2c-tiny-usb at bus 001 device 004", 7: "i2c-tiny-usb at bus 001 device 002"})
	if _, err := open(); err == nil || errors.Is(err, sensors.ErrAbsent) || !strings.Contains(err.Error(), "i2c-3 and i2c-7") {
		t.Errorf("two of them: %v", err)
	}
}

// Two owners of one adapter would come between the parts of each other's transactions.
func TestOneAdapterUnderTwoNames(t *testing.T) {
	bus := rig()
	hw := boardWith(t, bus)
	dir := filepath.Join(hw.Root(), "sys/bus/i2c/devices/i2c-1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "name"), []byte("bcm2835\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := id(t, hw, "name:bcm", 0x40); got != 0x01 || err != nil {
		t.Errorf("0x%02x, %v", got, err)
	}
	if _, err := id(t, hw, "1", 0x40); err == nil || !strings.Contains(err.Error(), "another sensor calls this adapter name:bcm") {
		t.Errorf("by its number: %v, want it refused", err)
	}
	bus.fail = func(uint16, []byte) error { return unix.ENODEV }
	if _, err := id(t, hw, "name:bcm", 0x40); !errors.Is(err, unix.ENODEV) {
		t.Errorf("unplugged: %v", err)
	}
	bus.fail = nil
	if got, err := id(t, hw, "1", 0x40); got != 0x01 || err != nil {
		t.Errorf("by its number when it was let go: 0x%02x, %v", got, err)
	}
}
