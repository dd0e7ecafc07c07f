package max31855

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/spi"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// The rows are those of the datasheet's tables 4 and 5, and others of its layout.
func TestFrame(t *testing.T) {
	for _, tt := range []struct {
		frame              frame
		thermocouple, cold float64
	}{
		{0x01901900, 25, 25},
		{0x064c1900, 100.75, 25},
		{0xfffc1900, -0.25, 25},
		{0xf0601900, -250, 25},
		{0x64001900, 1600, 25},
		{0x01901680, 25, 22.5},
		{0xff5cfcf0, -10.25, -3.0625},
	} {
		got := [2]float64{tt.frame.thermocouple(), tt.frame.coldJunction()}
		if err := tt.frame.check(); err != nil || got != [2]float64{tt.thermocouple, tt.cold} || tt.frame.fault() != nil {
			t.Errorf("%08x: %v, %v, %v; want %g and %g", uint32(tt.frame), got, err, tt.frame.fault(), tt.thermocouple, tt.cold)
		}
	}
}

// answer is an SPI transaction that reads that frame.
func answer(f frame) conntest.IO {
	return conntest.IO{W: make([]byte, 4), R: binary.BigEndian.AppendUint32(nil, uint32(f))}
}

// machine opens well and then reads that frame.
func machine(f frame) func(*testing.T) sensors.Hardware {
	return func(t *testing.T) sensors.Hardware {
		return sensortest.PlaybackSPI(t, spi.Mode0, []conntest.IO{answer(0x01901900), answer(f)})
	}
}

func TestContract(t *testing.T) {
	as := func(letter string) func(sensors.Config) {
		return func(c sensors.Config) { c.(*Config).Thermocouple = letter }
	}
	sensortest.Run(t, sensortest.Case{
		Driver:  Driver(),
		SPIOps:  []conntest.IO{answer(0x01901900), answer(0x064c1900)},
		SPIMode: spi.Mode0,
		Faults: []sensortest.Fault{
			{Name: "open circuit", Hardware: machine(0x7ffd1901), Want: errOpen},
			{Name: "short to ground", Hardware: machine(0x7ffd1902), Want: errGround},
			{Name: "short to the supply", Hardware: machine(0x7ffd1904), Want: errSupply},
			{Name: "no chip, low", Hardware: machine(0x00000000), Want: sensors.ErrAbsent},
			{Name: "no chip, high", Hardware: machine(0xffffffff), Want: sensors.ErrAbsent},
			{Name: "bit 17", Hardware: machine(0x01921900), Want: sensors.ErrAbsent},
			{Name: "bit 3", Hardware: machine(0x01901908), Want: sensors.ErrAbsent},
			{Name: "MAX6675", Hardware: machine(0x0c80ffff), Want: sensors.ErrAbsent},
			{Name: "fault without a kind", Hardware: machine(0x01911900), Want: sensors.ErrChecksum},
			{Name: "kind without a fault", Hardware: machine(0x01901901), Want: sensors.ErrChecksum},
			{Name: "too hot", Hardware: machine(0x64001900), Want: errRange},
			{Name: "too cold", Hardware: machine(0xf0601900), Want: errRange},
			{Name: "too hot for kind J", Hardware: machine(0x2ee41900), Configure: as("J"), Want: errRange},
			{Name: "cold junction too hot", Hardware: machine(0x01907d10), Want: errRange},
			{Name: "cold junction too cold", Hardware: machine(0x0190d7f0), Want: errRange},
			{Name: "a kind that Validate refuses", Hardware: machine(0x01901900), Configure: as("B")},
		},
	})
}

// A chip whose thermocouple is broken is there; and the ranges end where the table says.
func TestEnds(t *testing.T) {
	broken := sensortest.PlaybackSPI(t, spi.Mode0, []conntest.IO{answer(0x7ffd1901)})
	if _, err := Driver().New().Open(t.Context(), broken); err != nil {
		t.Errorf("Open with an open thermocouple: %v", err)
	}
	of := func(celsius float64) frame { return frame(uint32(int32(celsius*4))<<18 | 0x1900) }
	for letter, ends := range map[string][2]float64{
		"K": {-200, 1350}, "J": {-40, 750}, "N": {-200, 1300}, "T": {-250, 400}, "E": {-40, 900}, "S": {-50, 1600}, "R": {-50, 1770},
	} {
		k, ok := kindOf(letter)
		for _, celsius := range ends {
			if _, err := k.samples(of(celsius)); err != nil || !ok {
				t.Errorf("%s: %g °C: %v", letter, celsius, err)
			}
		}
		for _, celsius := range []float64{ends[0] - 0.25, ends[1] + 0.25} {
			if got, err := k.samples(of(celsius)); !errors.Is(err, errRange) {
				t.Errorf("%s: %g °C: %v, %v; want errRange", letter, celsius, got, err)
			}
		}
	}
}

// A reading that comes too soon after another would break off the conversion and have the old value again.
func TestReadingsAreAConversionApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := []conntest.IO{answer(0x01901900), answer(0x064c1900), answer(0x01901680), answer(0x01901900)}
		s, err := Driver().New().Open(t.Context(), sensortest.PlaybackSPI(t, spi.Mode0, ops))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got, err := s.Read(t.Context())
		want := []sensors.Sample{{Name: "temperature_celsius", Value: 100.75}, {Name: "cold_junction_celsius", Value: 25}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil || time.Since(start) != 100*time.Millisecond {
			t.Errorf("after %s: %v (-want +got):\n%s", time.Since(start), err, diff)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("a timeout of 50 ms: %v, want ErrTimeout", err)
		}
		if _, err := s.Read(t.Context()); err != nil || time.Since(start) != 200*time.Millisecond {
			t.Errorf("%v after %s, want 200 ms", err, time.Since(start))
		}
		time.Sleep(time.Second) // virtual
		start = time.Now()
		if _, err := s.Read(t.Context()); err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %s, want no wait", err, time.Since(start))
		}
		if !strings.HasPrefix(s.String(), "max31855@") {
			t.Errorf("String: %s", s)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change    func(*Config)
		key, want string
	}{
		{func(c *Config) { c.Port = "0" }, "port", `"0"`},
		{func(c *Config) { c.Thermocouple = "" }, "thermocouple", `want "K"`},
		{func(c *Config) { c.Thermocouple = "k" }, "thermocouple", `got "k"`},
	} {
		c := Driver().New().(*Config)
		tt.change(c)
		var said []string
		c.Validate(func(key, msg string) { said = append(said, key+": "+msg) })
		if len(said) != 1 || !strings.HasPrefix(said[0], tt.key+": ") || !strings.Contains(said[0], tt.want) {
			t.Errorf("%+v: %q, want %s: … %s …", c, said, tt.key, tt.want)
		}
	}
}

// Whatever the bits are, a chip gives values within its range or an error.
func FuzzFrame(f *testing.F) {
	for _, seed := range []uint32{0x01901900, 0xff5cfcf0, 0x7ffd1901, 0, 0xffffffff, 0x0c80ffff} {
		f.Add(seed, "K")
	}
	f.Add(uint32(0x64001900), "R")
	f.Fuzz(func(t *testing.T, bits uint32, letter string) {
		k, ok := kindOf(letter)
		if !ok || frame(bits).check() != nil {
			return
		}
		samples, err := k.samples(frame(bits))
		if (err == nil) != (len(samples) == 2) || bits&(1<<16) != 0 && err == nil {
			t.Fatalf("%08x: samples %v beside error %v", bits, samples, err)
		}
		limits := [][2]float64{{k.min, k.max}, {-40, 125}}
		for i, s := range samples {
			if !(s.Value >= limits[i][0] && s.Value <= limits[i][1]) {
				t.Errorf("%s = %g", s.Name, s.Value)
			}
		}
	})
}
