//go:build vmguest

package vm

import (
	"fmt"
	"testing"
	"time"

	"iotagent/test/vm/simi2c"
)

// The daemon while the chips on its bus break and mend: each fault is an error reading that says what is wrong, no fault brings a wrong
// value or holds up another sensor, and after each the readings are good again without a restart.
func TestKernelFaults(t *testing.T) {
	b := newBench(t)
	b.bind("ds2482", addrBridge)
	id := b.thermometerID()
	write(t, "/sys/bus/w1/devices/"+id+"/conv_time", "20") // ms: a simulated chip needs no time
	b.stopSearching()
	d := start(t, airSensor(b.bus)+"interval = \"500ms\"\ntimeout = \"1s\"\n"+waterSensor(id)+"interval = \"500ms\"\n"+
		"[[sensor]]\nname = \"other\"\ntype = \"sim\"\ninterval = \"250ms\"\ntimeout = \"10s\"\n")
	d.untilGood("water")
	d.untilGood("air")

	b.adapter.Nak(addrBMP, true)
	d.untilBad("air", "no acknowledge, check wiring and address")
	b.adapter.Nak(addrBMP, false)
	d.untilGood("air")

	another := simi2c.NewBMP280()
	another.ID = 0x42
	b.adapter.Put(addrBMP, another)
	d.untilBad("air", "the chip id is 0x42")
	b.adapter.Put(addrBMP, b.bmp)
	d.untilGood("air")

	b.adapter.Slow(700 * time.Millisecond)
	d.untilBad("air", "busy with 0x76")
	b.adapter.Slow(0)
	d.untilGood("air")

	b.adapter.Hang(true)
	d.untilBad("air", "busy with 0x")
	d.keepsTime("other")
	b.adapter.Hang(false)
	d.untilGood("air")
	d.untilGood("water")

	d.end()
	check(t, d.atHub("air"), exampleAir(), true)
	check(t, d.atHub("water"), map[string]float64{"temperature_celsius": 25.062}, false)
	for _, r := range d.atHub("other") {
		if r["quality"] != nil {
			t.Errorf("a sensor that is not on the bus: %v", r)
		}
	}
}

// keepsTime watches a sensor of four readings a second for two seconds. A busy machine may cost it some of them.
func (d *daemon) keepsTime(sensor string) {
	d.t.Helper()
	began, first := uptime(d.t), d.status(sensor)
	var now *state
	until(d.t, "two seconds", 30*time.Second, func() bool { return uptime(d.t)-began > 2 })
	if now = d.status(sensor); now == nil || first == nil {
		d.t.Fatal("no status")
	}
	if took, n := uptime(d.t)-began, float64(now.Readings-first.Readings); n < 2*took {
		d.t.Errorf("%s took %v readings in %.1f s", sensor, n, took)
	}
}

// check looks at every reading of a sensor that came to the hub: the good ones have the right values, the others none. There must be good ones, and
// failed ones where the sensor was made to fail.
func check(t *testing.T, readings []map[string]any, values map[string]float64, mustFail bool) {
	t.Helper()
	right, failed := 0, 0
	for _, r := range readings {
		got := map[string]float64{}
		for key, v := range r {
			if x, ok := v.(float64); ok && key != "uptime_seconds" {
				got[key] = x
			}
		}
		switch {
		case r["quality"] == nil && fmt.Sprint(got) == fmt.Sprint(values):
			right++
		case r["quality"] != nil && len(got) == 0:
			failed++
		default:
			t.Errorf("the hub got %v, want %v", r, values)
		}
	}
	if right == 0 || mustFail && failed == 0 {
		t.Errorf("%d readings are right and %d failed", right, failed)
	}
	t.Logf("at the hub: %d right, %d failed", right, failed)
}

// The adapter is pulled out while the daemon reads, and put in again; with the daemon watching, and so quickly that it sees nothing of it.
func TestKernelReplug(t *testing.T) {
	b := newBench(t)
	d := start(t, airSensor(b.bus)+"interval = \"500ms\"\n")
	d.untilGood("air")
	bus := b.bus
	for _, seen := range []bool{true, false} {
		b.unplug()
		if seen {
			d.untilBad("air", fmt.Sprintf("/dev/i2c-%d", bus))
		}
		b.plugIn()
		if b.bus != bus {
			t.Fatalf("the bus has the number %d now, it was %d", b.bus, bus)
		}
		d.untilGood("air")
	}
	d.end()
	check(t, d.atHub("air"), exampleAir(), true)
}
