//go:build vmguest

package vm

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"
)

// The values of the BMP280 datasheet's example, as our driver rounds them and as the kernel's driver tells them.
func exampleAir() map[string]float64 {
	return map[string]float64{"temperature_celsius": 25.08, "pressure_pascals": 100653.3}
}

// The same chip through our own driver and through the kernel's, which then keeps ours out.
func TestKernelBMP280(t *testing.T) {
	b := newBench(t)
	good(t, readAll(t, airSensor(b.bus))["air"], exampleAir())

	unbind := b.bind("bmp280", addrBMP)
	r := readAll(t, airSensor(b.bus)+iioSensor("bmp280"))
	bad(t, r["air"], "kernel driver bmp280 has this chip", fmt.Sprintf("echo 0x76 > /sys/bus/i2c/devices/i2c-%d/delete_device", b.bus))
	k := r["kernel-air"]
	if p := k.Values["pressure_pascals"]; math.Abs(p-100653.3) > 0.5 {
		t.Errorf("the kernel's driver says %v Pa: %+v", p, k)
	}
	k.Values["pressure_pascals"] = 100653.3
	good(t, k, exampleAir())

	unbind() // the way out
	good(t, readAll(t, airSensor(b.bus))["air"], exampleAir())
}

// What is not a chip of ours, and what does not answer.
func TestKernelAbsent(t *testing.T) {
	b := newBench(t)
	b.adapter.Do(func() { b.bmp.ID = 0x42 })
	bad(t, readAll(t, airSensor(b.bus))["air"], "the chip id is 0x42, want 0x60 (BME280) or 0x58 (BMP280)")
	b.adapter.Nak(addrBMP, true)
	bad(t, readAll(t, airSensor(b.bus))["air"], "no acknowledge, check wiring and address")
	b.adapter.Nak(addrBMP, false)
	b.adapter.Do(func() { b.bmp.ID = 0x58 })
	good(t, readAll(t, airSensor(b.bus))["air"], exampleAir())

	gone := b.bus
	b.unplug()
	bad(t, readAll(t, airSensor(gone))["air"], fmt.Sprintf("/dev/i2c-%d does not exist", gone), "unplugged")
}

// A thermometer on the far side of the kernel's bridge driver. A checksum that is wrong, and the value of a chip that lost its power, are
// errors and never values.
func TestKernelDS18B20(t *testing.T) {
	b := newBench(t)
	b.bind("ds2482", addrBridge)
	id := b.thermometerID()
	water := waterSensor(id)
	for i, raw := range []int16{0x191, -162, 125 * 16, 0, 85 * 16} {
		celsius := []float64{25.062, -10.125, 125, 0, 85}[i]
		b.adapter.Do(func() { b.thermometer.Raw = raw })
		good(t, readAll(t, water)["water"], map[string]float64{"temperature_celsius": celsius})
		write(t, "/sys/bus/w1/devices/"+id+"/conv_time", "20") // ms; the first reading waited as long as a real chip wants
	}
	b.adapter.Do(func() { b.thermometer.BadCRC = true })
	bad(t, readAll(t, water)["water"], "the kernel read nothing")
	b.adapter.Do(func() { b.thermometer.BadCRC, b.thermometer.PowerOn = false, true })
	bad(t, readAll(t, water)["water"], "the sensor was reset during its conversion")
	b.adapter.Do(func() { b.thermometer.PowerOn, b.thermometer.Raw = false, 0x191 })
	good(t, readAll(t, water)["water"], map[string]float64{"temperature_celsius": 25.062})
}

// A plain repetition of the search, which once in a while took long.
func TestKernelSearch(t *testing.T) {
	if os.Getenv("VM_LONG") == "" {
		t.Skip("takes long: VM_LONG=1")
	}
	for range 30 {
		b := newBench(t)
		unbind := b.bind("ds2482", addrBridge)
		began := time.Now()
		t.Logf("%s after %v", b.thermometerID(), time.Since(began))
		unbind()
		b.unplug()
	}
}
