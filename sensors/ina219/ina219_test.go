package ina219

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
	board, fine := shunt{ohms: 0.1, gain: 3}, shunt{ohms: 0.1, gain: 0}
	for _, tt := range []struct {
		name       string
		shunt      shunt
		value, bus uint16
		want       []sensors.Sample
	}{
		{"the datasheet's example", shunt{ohms: 0.002}, 0x07d0, 0x5d98, samples(11.98, 10, 119.8)},
		{"ready flag", board, 0x07d0, 0x5d9a, samples(11.98, 0.2, 2.396)},
		{"ready and overflow flag", board, 0x07d0, 0x5d9b, samples(11.98, 0.2, 2.396)},
		{"a battery that is charged", board, 0xf830, 0x5d9a, samples(11.98, -0.2, -2.396)},
		{"nothing connected", board, 0, 2, samples(0, 0, 0)},
		{"one step", board, 1, 0x000a, samples(0.004, 0.0001, 0)},
		{"the most of an R100", board, 0x7cff, 0xcb22, samples(26, 3.1999, 83.1974)},
		{"the most backwards", board, 0x8301, 0xcb22, samples(26, -3.1999, -83.1974)},
		{"the most of the smallest range", fine, 0x0f9f, 0xcb22, samples(26, 0.3999, 10.3974)},
	} {
		got, err := tt.shunt.decode(tt.value, tt.bus)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
	for _, tt := range []struct {
		gain       int
		value, bus uint16
	}{
		{3, 0x7d00, 0x5d9a},
		{3, 0x8300, 0x5d9a},
		{3, 0x7fff, 0x5d9a},
		{3, 0x8000, 0x5d9a},
		{2, 0x3e80, 0x5d9a},
		{1, 0x1f40, 0x5d9a},
		{0, 0x0fa0, 0x5d9a},
		{0, 0xf060, 0x5d9a},
		{3, 0, 0xcb2a},
		{3, 0, 0xfa02},
		{3, 0xffff, 0xffff},
	} {
		if got, err := (shunt{ohms: 0.1, gain: tt.gain}).decode(tt.value, tt.bus); !errors.Is(err, errClipped) || got != nil {
			t.Errorf("%+v: %v, %v; want errClipped", tt, got, err)
		}
	}
}

// conversation is what goes over the bus in setUp and in one Read, with the default settings.
func conversation() (setUp, read []i2ctest.IO) {
	setUp = []i2ctest.IO{
		op([]byte{0x00}, 0x01, 0x9f), // as another program left it
		op([]byte{0x00, 0x80, 0x00}),
		op([]byte{0x00}, 0x39, 0x9f),
		op([]byte{0x00, 0x3e, 0x60}),
	}
	read = []i2ctest.IO{
		op([]byte{0x00}, 0x3e, 0x60),
		op([]byte{0x03}, 0x00, 0x00),
		op([]byte{0x00, 0x3e, 0x63}),
		op([]byte{0x02}, 0x5d, 0x98), // still measuring
		op([]byte{0x02}, 0x5d, 0x9a),
		op([]byte{0x01}, 0x07, 0xd0),
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
	ina226 := []i2ctest.IO{op([]byte{0x00}, 0x41, 0x27)} // and nothing is written to it
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    all,
		Faults: []sensortest.Fault{
			{
				Name:     "INA226",
				Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ina226) },
				Want:     sensors.ErrAbsent,
			},
			{Name: "reset without effect", Hardware: answering(2, 0x01, 0x9f), Want: sensors.ErrAbsent},
			{Name: "shunt beyond its range", Hardware: answering(9, 0x7d, 0x00), Want: errClipped},
			{Name: "shunt beyond its range, backwards", Hardware: answering(9, 0x83, 0x00), Want: errClipped},
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
		again[0] = op([]byte{0x00}, 0x3e, 0x63) // the mode stays as it was written
		again[5] = op([]byte{0x01}, 0xf8, 0x30)
		s := open(t, setUp, read, again)
		for _, want := range [][]sensors.Sample{samples(11.98, 0.2, 2.396), samples(11.98, -0.2, -2.396)} {
			got, err := s.Read(t.Context())
			if diff := cmp.Diff(want, got); diff != "" || err != nil || s.String() != "ina219@i2c1:0x40" {
				t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
			}
		}
	})
}

// A chip that lost its power answers the reset value, and is identified again; by now it may be another.
func TestBrownOutIsSetUpAnew(t *testing.T) {
	setUp, read := conversation()
	lost := []i2ctest.IO{op([]byte{0x00}, 0x39, 0x9f)}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, setUp, read, lost, setUp, read[1:])
		for range 2 {
			if got, err := s.Read(t.Context()); err != nil || got[1].Value != 0.2 {
				t.Errorf("Read: %v, %v; want 0.2 A", got, err)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := open(t, setUp, lost, []i2ctest.IO{op([]byte{0x00}, 0x41, 0x27)})
		if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrAbsent) {
			t.Errorf("Read of another chip: %v, want ErrAbsent", err)
		}
	})
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		averages, gain int
		word           uint16
		time           time.Duration
	}{
		{1, 3, 0x3c40, 1212 * time.Microsecond},
		{2, 0, 0x24c8, 2384 * time.Microsecond},
		{16, 3, 0x3e60, 18792 * time.Microsecond},
		{128, 3, 0x3ff8, 150056 * time.Microsecond},
	} {
		d := &device{averages: tt.averages, shunt: shunt{gain: tt.gain}}
		if d.settings() != tt.word || d.conversionTime() != tt.time {
			t.Errorf("%+v: 0x%04x, %s", tt, d.settings(), d.conversionTime())
		}
	}
	if got := (shunt{gain: 3}).full(); got != 0x7d00 {
		t.Errorf("full range 0x%04x, want 0x7d00", got)
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
		s := open(t, setUp, read[:3], slices.Repeat(read[3:4], polls))
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
		{func(c *Config) { c.ShuntRangeVolts = 0 }, "shunt_range_volts"},
		{func(c *Config) { c.ShuntRangeVolts = 320 }, "shunt_range_volts"},
		{func(c *Config) { c.Averages = 0 }, "averages"},
		{func(c *Config) { c.Averages = 3 }, "averages"},
		{func(c *Config) { c.Averages = 256 }, "averages"},
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
	f.Add(uint16(0x07d0), uint16(0x5d9a), 0.002, uint8(0))
	f.Add(uint16(0x8301), uint16(0xcb22), 1e-6, uint8(3))
	f.Add(uint16(0x7d00), uint16(0xffff), 10.0, uint8(3))
	f.Fuzz(func(t *testing.T, value, bus uint16, ohms float64, gain uint8) {
		if !(ohms >= 1e-6 && ohms <= maxShuntOhms) || int(gain) >= len(shuntRanges()) {
			return
		}
		got, err := shunt{ohms: ohms, gain: int(gain)}.decode(value, bus)
		if (err == nil) != (len(got) == 3) {
			t.Fatalf("samples %v beside error %v", got, err)
		}
		most := shuntRanges()[gain] / ohms
		limits := []float64{26, most, 26 * most}
		for i, s := range got {
			if !(math.Abs(s.Value) <= limits[i]) {
				t.Errorf("%s = %g", s.Name, s.Value)
			}
		}
	})
}
