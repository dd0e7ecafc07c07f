package sensors_test

import (
	"strings"
	"testing"

	"iotagent/sensors"
)

func TestParseI2C(t *testing.T) {
	for name, want := range map[string]string{
		"1": "i2c1", "I2C1": "i2c1", "/dev/i2c-20": "i2c20",
		"1/0x70:3": "i2c1/0x70:3", "/dev/i2c-1/0x77:0": "i2c1/0x77:0", "i2c-1/0x70:3/0x71:7": "i2c1/0x70:3/0x71:7",
		"name:i2c-tiny-usb": "name:i2c-tiny-usb", "name:CP2112 SMBus Bridge/0x70:1": "name:CP2112 SMBus Bridge/0x70:1", "name:a/b": "name:a/b",
	} {
		if got, err := sensors.ParseI2C(name); got.String() != want || err != nil {
			t.Errorf("ParseI2C(%q) = %s, %v; want %s", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"": "want a number", "one": "want a number", "/0x70:1": "want a number", "70000": "want a number", "name:": "beginning of an adapter's name", "name: x": "beginning",
		"1/": "want a multiplexer's address", "1/70:3": "want a multiplexer's address", "1/0x6f:3": "0x70 to 0x77", "1/0x78:3": "0x70 to 0x77",
		"1/0x70": "want a channel", "1/0x70:": "want a channel", "1/0x70:8": "channel from 0 to 7", "1/0x70:-1": "want a channel", "1/0x70:3/": "want a multiplexer's",
		"1/0x70:3/0x70:1": "cannot both be at 0x70", "name:x/0x70:9": "want a channel",
	} {
		if got, err := sensors.ParseI2C(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseI2C(%q) = %s, %v; want an error that says %q", name, got, err, want)
		}
	}
}

// What is taken is said again in a form that means the same.
func FuzzParseI2C(f *testing.F) {
	for _, s := range []string{"1", "/dev/i2c-1/0x70:3", "name:x/0x70:3/0x71:0", "I2C7/0x77:7", "name:/0x", "1/0x070:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p, err := sensors.ParseI2C(name)
		if err != nil {
			return
		}
		again, err := sensors.ParseI2C(p.String())
		if err != nil || again.String() != p.String() {
			t.Errorf("%q is %q, which is %q, %v", name, p, again, err)
		}
		for _, h := range p.Hops {
			if h.Address < 0x70 || h.Address > 0x77 || h.Channel < 0 || h.Channel > 7 {
				t.Errorf("%q has the hop %s", name, h)
			}
		}
	})
}

func TestParseSPI(t *testing.T) {
	for _, name := range []string{"0.1", "SPI0.1", "spi0.1", "spidev0.1", "/dev/spidev0.1"} {
		if got, err := sensors.ParseSPI(name); got != (sensors.SPIName{Bus: 0, Select: 1}) || err != nil || got.String() != "spi0.1" {
			t.Errorf("ParseSPI(%q) = %s, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "0", "0.", ".1", "spi", "0.1.2", "0.-1", "/dev/i2c-1", "0.256", "x0.1", "0,1", " 0.1"} {
		if got, err := sensors.ParseSPI(name); err == nil {
			t.Errorf("ParseSPI(%q) = %s, want an error", name, got)
		}
	}
}

func FuzzParseSPI(f *testing.F) {
	for _, s := range []string{"0.1", "/dev/spidev10.2", "SPI0.0", "spidevspi0.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		n, err := sensors.ParseSPI(name)
		if err != nil {
			return
		}
		if again, err := sensors.ParseSPI(n.String()); err != nil || again != n {
			t.Errorf("%q is %s, which is %s, %v", name, n, again, err)
		}
	})
}
