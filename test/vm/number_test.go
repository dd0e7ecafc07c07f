//go:build vmguest

package vm

import (
	"testing"
	"time"

	"iotagent/test/vm/simi2c"
)

// An adapter that is another number when it is plugged in again, because another took the old one meanwhile, is found by its name.
func TestKernelReplugOtherNumber(t *testing.T) {
	b := newBench(t)
	d := start(t, "[[sensor]]\nname = \"air\"\ntype = \"bme280\"\nbus = \"name:i2c-tiny-usb\"\naddress = 0x76\ninterval = \"500ms\"\n")
	d.untilGood("air")
	old := b.bus
	b.unplug()
	d.untilBad("air", "")
	squatter, err := simi2c.PlugIn(&simi2c.Adapter{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the bus of the other adapter", 20*time.Second, func() bool {
		n, ok := simi2c.Bus()
		return ok && n == old
	})
	if b.plug, err = simi2c.PlugIn(&b.adapter, 0); err != nil {
		t.Fatal(err)
	}
	until(t, "both buses", 20*time.Second, func() bool { return len(simi2c.Buses()) == 2 })
	if err := squatter.Unplug(); err != nil {
		t.Error(err)
	}
	until(t, "the bus with its new number", 20*time.Second, func() (ok bool) {
		b.bus, ok = simi2c.Bus()
		return ok && b.bus != old
	})
	d.untilGood("air")
	d.end()
	check(t, d.atHub("air"), exampleAir(), true)
}
