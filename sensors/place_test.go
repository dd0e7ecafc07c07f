package sensors_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/sensors"
)

func TestClash(t *testing.T) {
	at := func(bus string, addr int) sensors.Place { return sensors.Place{I2C: bus, Address: addr} }
	shared := func(bus string, addr int) sensors.Place {
		return sensors.Place{I2C: bus, Address: addr, Shared: true}
	}
	for _, tt := range []struct {
		a, b  sensors.Place
		types string // both, or the same when it is one letter
		want  string
	}{
		{at("1", 0x76), at("/dev/i2c-1", 0x76), "x", "i2c1:0x76 is one chip's"},
		{at("1", 0x76), at("1", 0x77), "x", ""},
		{at("1", 0x76), at("2", 0x76), "x", ""},
		{at("1", 0x76), at("name:usb", 0x76), "x", ""},
		{at("name:usb", 0x76), at("name:usb", 0x76), "x", "one chip's"},
		{at("one", 0x76), at("one", 0x76), "x", ""},
		{shared("1", 0x48), shared("1", 0x48), "x", ""},
		{shared("1", 0x48), shared("1", 0x48), "xy", "one chip's"},
		{shared("1", 0x48), at("1", 0x48), "x", "one chip's"},
		{shared("1", 0x48), shared("1/0x70:0", 0x48), "x", "would both answer"},
		{at("1/0x70:0", 0x76), at("1/0x70:0", 0x76), "x", "i2c1/0x70:0:0x76 is one chip's"},
		{at("1/0x70:0", 0x76), at("1/0x70:1", 0x76), "x", ""},
		{at("1/0x70:0", 0x76), at("1/0x71:0", 0x76), "x", ""},
		{at("1/0x70:0", 0x76), at("1", 0x76), "x", "would both answer"},
		{at("1/0x70:0", 0x76), at("1/0x70:0/0x71:2", 0x76), "x", "would both answer"},
		{at("1/0x70:0", 0x76), at("1/0x70:1/0x71:2", 0x76), "x", ""},
		{at("1", 0x70), at("1/0x70:1", 0x76), "x", "i2c1:0x70 would answer with the multiplexer 0x70 of i2c1/0x70:1"},
		{at("1/0x71:1", 0x70), at("1/0x70:1", 0x76), "x", "i2c1/0x71:1:0x70 would answer with the multiplexer 0x70"},
		{at("1/0x70:1", 0x71), at("1/0x70:2/0x71:0", 0x76), "x", ""},
		{at("1/0x70:2", 0x71), at("1/0x70:2/0x71:0", 0x76), "x", "would answer with the multiplexer 0x71"},
		{at("1/0x70:2/0x71:0", 0x76), at("1/0x71:4", 0x77), "x", "the multiplexers 0x71 of"},
		{at("1/0x70:2/0x71:0", 0x76), at("1/0x70:3/0x71:4", 0x77), "x", ""},
		{at("1/0x70:2/0x71:0", 0x76), at("1/0x70:2/0x71:4", 0x77), "x", ""},
		{sensors.Place{SPI: "0.1"}, sensors.Place{SPI: "/dev/spidev0.1"}, "x", "spi0.1 is one chip's"},
		{sensors.Place{SPI: "0.1"}, sensors.Place{SPI: "0.0"}, "x", ""},
		{sensors.Place{SPI: "0.1"}, at("1", 0), "x", ""},
		{sensors.Place{SPI: "0.1", Shared: true}, sensors.Place{SPI: "0.1", Shared: true}, "x", ""},
		{sensors.Place{Line: "GPIO17"}, sensors.Place{Line: "P1_11"}, "x", "has one holder"},
		{sensors.Place{Line: "/dev/gpiochip1:3"}, sensors.Place{Line: "gpiochip1:3"}, "xy", "has one holder"},
		{sensors.Place{Line: "door"}, sensors.Place{Line: "door"}, "x", "has one holder"},
		{sensors.Place{Line: "GPIO17"}, sensors.Place{Line: "GPIO18"}, "x", ""},
		{sensors.Place{Line: "P1_1"}, sensors.Place{Line: "P1_2"}, "x", ""},
		{sensors.Place{Line: "GPIO17"}, at("1", 0x76), "x", ""},
		{sensors.Place{Line: "GPIO17"}, sensors.Place{SPI: "0.1"}, "x", ""},
		{sensors.Place{SPI: "0.1", Shared: true}, sensors.Place{SPI: "0.1", Shared: true}, "xy", "one chip's"},
	} {
		there := tt.a.Clash(tt.types[:1], tt.b, tt.types[len(tt.types)-1:])
		back := tt.b.Clash(tt.types[len(tt.types)-1:], tt.a, tt.types[:1])
		if (there == "") != (tt.want == "") || !strings.Contains(there, tt.want) || (back == "") != (tt.want == "") {
			t.Errorf("%+v and %+v: %q, the other way round %q, want %q", tt.a, tt.b, there, back, tt.want)
		}
	}
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hw := boardWith(t, &echoBus{})
		open := func(addr uint16) *sensors.I2CDev {
			d, err := sensors.OpenI2C(hw, "1", addr)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		release, err := open(0x48).Hold(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if other, err := open(0x49).Hold(t.Context()); err != nil {
			t.Errorf("another chip: %v", err)
		} else {
			other()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		refused, err := open(0x48).Hold(ctx)
		if !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("the same chip: %v, want ErrTimeout", err)
		}
		refused() // gives nothing away
		time.AfterFunc(time.Second, release)
		start := time.Now()
		again, err := open(0x48).Hold(t.Context())
		if err != nil || time.Since(start) != time.Second {
			t.Errorf("%v after %s, want it when the other let go", err, time.Since(start))
		}
		again()
	})
}
