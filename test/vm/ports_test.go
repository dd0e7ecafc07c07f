//go:build vmguest

package vm

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"iotagent/test/vm/simi2c"
)

// A port expander through our own driver.
func TestKernelPCF8574(t *testing.T) {
	b := newBench(t)
	contacts := fmt.Sprintf("[[sensor]]\nname = \"contacts\"\ntype = \"pcf8574\"\nbus = \"%d\"\naddress = 0x21\ninputs = { door = 0, pump = 1 }\nactive_low = true\n", b.bus)
	good(t, readAll(t, contacts)["contacts"], map[string]float64{"door_state": 0, "pump_state": 0})
	b.adapter.Do(func() { b.port.Outside = 0xfe })
	good(t, readAll(t, contacts)["contacts"], map[string]float64{"door_state": 1, "pump_state": 0})
	b.adapter.Nak(addrPort, true)
	bad(t, readAll(t, contacts)["contacts"], "no acknowledge")
}

// A port expander through the kernel's driver: its lines are GPIO lines as any.
func TestKernelPCA9534(t *testing.T) {
	if runtime.GOARCH != "arm64" {
		t.Skip("Debian's kernel has no driver for it but on ARM: VM_ARCH=arm64")
	}
	b := newBench(t)
	chip := simi2c.NewPCA9534()
	b.adapter.Put(0x20, chip)
	b.bind("pca9534", 0x20)
	found, err := filepath.Glob(fmt.Sprintf("/sys/bus/i2c/devices/%d-0020/gpiochip*/dev", b.bus))
	if err != nil || len(found) != 1 {
		t.Fatalf("its chip: %q, %v", found, err)
	}
	line := fmt.Sprintf("[[sensor]]\nname = \"line\"\ntype = \"digital\"\npin = \"%s:3\"\ndebounce = \"0s\"\nedges = \"none\"\n", filepath.Base(filepath.Dir(found[0])))
	for bit, outside := range []byte{0xf7, 0x08} {
		b.adapter.Do(func() { chip.Outside = outside })
		good(t, readAll(t, line)["line"], map[string]float64{"active_state": float64(bit)})
	}
	b.adapter.Nak(0x20, true)
	bad(t, readAll(t, line)["line"])
}
