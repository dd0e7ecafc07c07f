package ina226

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

func samples(volts, amperes, watts float64) []sensors.Sample {
	return []sensors.Sample{
		{Name: "voltage_volts", Value: volts}, {Name: "current_amperes", Value: amperes}, {Name: "power_watts", Value: watts},
	}
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name       string
		shunt, bus uint16
		ohms       float64
		want       []sensors.Sample
	}{
		{"the datasheet's example", 0x1f40, 0x2570, 0.002, samples(11.98, 10, 119.8)},
		{"nothing connected", 0, 0, 0.1, samples(0, 0, 0)},
		{"one step", 1, 1, 0.1, samples(0.00125, 0.000025, 0)},
		{"a step back", 0xffff, 0x2570, 0.1, samples(11.98, -0.000025, -0.0003)},
		{"a battery that is charged", 0xe0c0, 0x2570, 0.002, samples(11.98, -10, -119.8)},
		{"the most of an R100", 0x7ffe, 0x7080, 0.1, samples(36, 0.81915, 29.4894)},
		{"the most backwards", 0x8001, 0x7080, 0.1, samples(36, -0.819175, -29.4903)},
		{"75 mV for 1000 A", 0x7530, 0x4b00, 0.000075, samples(24, 1000, 24000)},
		{"digits beyond the chip's", 0x0003, 0x2571, 0.03, samples(11.98125, 0.00025, 0.002995)},
	} {
		got, err := decode(tt.shunt, tt.bus, tt.ohms)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
	for _, tt := range [][2]uint16{{0x7fff, 0x2570}, {0x8000, 0x2570}, {0, 0x7081}, {0, 0x7fff}, {0xffff, 0xffff}} {
		if got, err := decode(tt[0], tt[1], 0.1); !errors.Is(err, errClipped) || got != nil {
			t.Errorf("% x: %v, %v; want errClipped", tt, got, err)
		}
	}
}

// conversation is what goes over the bus in setUp and in one Read, with 16 averages.
func conversation() (setUp, read []i2ctest.IO) {
	setUp = []i2ctest.IO{
		op([]byte{0xfe}, 0x54, 0x49),
		op([]byte{0xff}, 0x22, 0x60),
		op([]byte{0x00, 0x45, 0x20}),
	}
	read = []i2ctest.IO{
		op([]byte{0x00}, 0x45, 0x20),
		op([]byte{0x00, 0x45, 0x23}),
		op([]byte{0x06}, 0x00, 0x00), // still measuring
		op([]byte{0x06}, 0x00, 0x08),
		op([]byte{0x01}, 0x03, 0x20),
		op([]byte{0x02}, 0x25, 0x70),
	}
	return setUp, read
}

func op(w []byte, answer ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x40, W: w, R: answer} }

// answering replaces the answer to one of the transactions.
func answering(at int, answer ...byte) func(*testing.T) sensors.Hardware {
	ops := slices.Concat(conversation())
	ops[at].R = answer
	return func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ops) }
}

func TestContract(t *testing.T) {
	all := slices.Concat(conversation())
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    all,
		Faults: []sensortest.Fault{
			{Name: "another maker", Hardware: answering(0, 0x39, 0x9f), Want: sensors.ErrAbsent},
			{Name: "another chip", Hardware: answering(1, 0x22, 0x80), Want: sensors.ErrAbsent},
			{Name: "shunt beyond its range", Hardware: answering(7, 0x7f, 0xff), Want: errClipped},
			{Name: "shunt beyond its range, backwards", Hardware: answering(7, 0x80, 0x00), Want: errClipped},
			{Name: "bus beyond its range", Hardware: answering(8, 0xff, 0xff), Want: errClipped},
			{
				Name:      "another address",
				Hardware:  func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, all) },
				Configure: func(c sensors.Config) { c.(*Config).Address = 0x41 },
			},
			{
				Name:     "no bus",
				Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) },
				Want:     sensors.ErrAbsent,
			},
		},
	})
}

// open opens the chip on the other end of ops.
func open(t *testing.T, ops ...[]i2ctest.IO) sensors.Sensor {
	t.Helper()
	s, err := Driver().New().Open(t.Context(), sensortest.Playback(t, slices.Concat(ops...)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation()
		again := slices.Clone(read)
		again[0] = op([]byte{0x00}, 0x45, 0x23) // the mode stays as it was written
		again[4] = op([]byte{0x01}, 0xfc, 0xe0)
		s := open(t, setUp, read, again)
		for _, want := range [][]sensors.Sample{samples(11.98, 0.02, 0.2396), samples(11.98, -0.02, -0.2396)} {
			got, err := s.Read(t.Context())
			if diff := cmp.Diff(want, got); diff != "" || err != nil || s.String() != "ina226@i2c1:0x40" {
				t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
			}
		}
	})
}

// A chip that lost its power answers the reset value, and is identified again; by now it may be another.
func TestBrownOutIsSetUpAnew(t *testing.T) {
	setUp, read := conversation()
	lost := []i2ctest.IO{op([]byte{0x00}, 0x41, 0x27)}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, setUp, read, lost, setUp, read[1:])
		for range 2 {
			if got, err := s.Read(t.Context()); err != nil || got[1].Value != 0.02 {
				t.Errorf("Read: %v, %v; want 0.02 A", got, err)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := open(t, setUp, lost, []i2ctest.IO{op([]byte{0xfe}, 0x39, 0x9f), setUp[1]})
		if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrAbsent) {
			t.Errorf("Read of another chip: %v, want ErrAbsent", err)
		}
	})
}

// With one average the reset value has our settings; only its mode tells.
func TestBrownOutWithOneAverage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation()
		ops := slices.Concat(setUp, []i2ctest.IO{op([]byte{0x00}, 0x41, 0x27)}, setUp, read[1:])
		ops[2], ops[6], ops[7] = op([]byte{0x00, 0x41, 0x20}), op([]byte{0x00, 0x41, 0x20}), op([]byte{0x00, 0x41, 0x23})
		c := Driver().New().(*Config)
		c.Averages = 1
		s, err := c.Open(t.Context(), sensortest.Playback(t, ops))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestSettings(t *testing.T) {
	for averages, want := range map[int]struct {
		word uint16
		time time.Duration
	}{
		1: {0x4120, 2460 * time.Microsecond}, 4: {0x4320, 9720 * time.Microsecond}, 16: {0x4520, 38760 * time.Microsecond},
		1024: {0x4f20, 2478120 * time.Microsecond},
	} {
		d := &device{averages: averages}
		if d.settings() != want.word || d.conversionTime() != want.time {
			t.Errorf("%d averages: 0x%04x, %s; want 0x%04x, %s", averages, d.settings(), d.conversionTime(), want.word, want.time)
		}
	}
}

func TestDeadlineWhileMeasuring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, slices.Concat(conversation()))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 5*time.Millisecond {
			t.Errorf("Read: %v after %s, want ErrTimeout after 5 ms", err, time.Since(start))
		}
	})
}

func TestChipThatStaysBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation()
		s := open(t, setUp, read[:2], slices.Repeat(read[2:3], polls))
		if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("Read: %v, want ErrTimeout", err)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		key    string
	}{
		{func(c *Config) { c.Address = 0x3f }, "address"},
		{func(c *Config) { c.Address = 0x50 }, "address"},
		{func(c *Config) { c.Bus = "one" }, "bus"},
		{func(c *Config) { c.ShuntOhms = 0 }, "shunt_ohms"},
		{func(c *Config) { c.ShuntOhms = -0.1 }, "shunt_ohms"},
		{func(c *Config) { c.ShuntOhms = 100 }, "shunt_ohms"},
		{func(c *Config) { c.ShuntOhms = math.NaN() }, "shunt_ohms"},
		{func(c *Config) { c.Averages = 0 }, "averages"},
		{func(c *Config) { c.Averages = 2 }, "averages"},
	} {
		c := Driver().New().(*Config)
		tt.change(c)
		var keys []string
		c.Validate(func(key, _ string) { keys = append(keys, key) })
		if diff := cmp.Diff([]string{tt.key}, keys); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c, diff)
		}
	}
}

// Whatever the registers hold, a chip gives values within its range or an error.
func FuzzDecode(f *testing.F) {
	f.Add(uint16(0x1f40), uint16(0x2570), 0.002)
	f.Add(uint16(0x8001), uint16(0x7080), 1e-6)
	f.Add(uint16(0x7fff), uint16(0xffff), 10.0)
	f.Fuzz(func(t *testing.T, shunt, bus uint16, ohms float64) {
		c := Driver().New().(*Config)
		c.ShuntOhms = ohms
		wrong := false
		c.Validate(func(string, string) { wrong = true })
		if wrong {
			return
		}
		got, err := decode(shunt, bus, ohms)
		if (err == nil) != (len(got) == 3) {
			t.Fatalf("samples %v beside error %v", got, err)
		}
		limits := []float64{36, 0.08192 / ohms, 36 * 0.08192 / ohms}
		for i, s := range got {
			if !(math.Abs(s.Value) <= limits[i]) {
				t.Errorf("%s = %g", s.Name, s.Value)
			}
		}
	})
}
