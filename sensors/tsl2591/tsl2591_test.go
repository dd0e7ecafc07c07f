package tsl2591

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"iotagent/internal/quantity"
	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

func TestLux(t *testing.T) {
	for _, tt := range []struct {
		light light
		want  float64
	}{
		{light{1000, 300, gainMedium, 1}, 79.9680},
		{light{20000, 5000, gainHigh, 3}, 35.7477},
		{light{4660, 1110, gainMedium, 2}, 220.6790},
		{light{500, 480, gainLow, 1}, 3.2640},
		{light{0, 0, gainMax, 6}, 0},
		{light{0, 7, gainMax, 6}, 0},
		{light{100, 100, gainLow, 1}, 0},
		{light{100, 300, gainLow, 1}, 0}, // the formula has 1632 lx for it
	} {
		if got := tt.light.lux(); math.Abs(got-tt.want) > 5e-5 {
			t.Errorf("%+v: %.4f lx, want %.4f", tt.light, got, tt.want)
		}
	}
}

func TestRound(t *testing.T) {
	for x, want := range map[float64]float64{0: 0, 79.96799: 79.968, 220.67903: 220.68, 87654.4: 87654, 0.00007123456: 0.000071235} {
		if got := round(x); got != want {
			t.Errorf("%g: %g, want %g", x, got, want)
		}
	}
}

// measurement is what goes over the bus for one measurement.
func measurement(control byte, all, infrared uint16) []i2ctest.IO {
	op := func(w []byte, r ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x29, W: w, R: r} }
	return []i2ctest.IO{
		op([]byte{0xa0, 0x01}),
		op([]byte{0xa1, control}),
		op([]byte{0xa0, 0x03}),
		op([]byte{0xb3}, 0x00, 0, 0, 0, 0), // not yet
		op([]byte{0xb3}, 0x11, byte(all), byte(all>>8), byte(infrared), byte(infrared>>8)),
		op([]byte{0xa0, 0x00}),
	}
}

// opening is what goes over the bus in Open.
func opening(id byte) []i2ctest.IO {
	return []i2ctest.IO{{Addr: 0x29, W: []byte{0xb2}, R: []byte{id}}, {Addr: 0x29, W: []byte{0xa0, 0x00}}}
}

// joined is Open and then those measurements.
func joined(parts ...[]i2ctest.IO) []i2ctest.IO {
	ops := opening(0x50)
	for _, p := range parts {
		ops = append(ops, p...)
	}
	return ops
}

func playing(ops []i2ctest.IO) func(*testing.T) sensors.Hardware {
	return func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ops) }
}

func TestContract(t *testing.T) {
	never := joined(measurement(0x10, 0, 0)[:3])
	for range polls {
		never = append(never, measurement(0x10, 0, 0)[3])
	}
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    joined(measurement(0x10, 2000, 300)),
		Faults: []sensortest.Fault{
			{Name: "another chip", Hardware: playing(opening(0xee)), Want: sensors.ErrAbsent},
			{Name: "chip that never finishes", Hardware: playing(never), Want: sensors.ErrTimeout},
			{
				Name:     "too bright for every gain",
				Hardware: playing(joined(measurement(0x10, 36863, 300), measurement(0x00, 36863, 40))),
				Want:     errDazzled,
			},
			{
				Name:      "too bright for the only gain",
				Hardware:  playing(joined(measurement(0x20, 300, 36863))),
				Configure: func(c sensors.Config) { c.(*Config).Gain = "high" },
				Want:      errDazzled,
			},
			{
				Name:     "no bus",
				Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) },
				Want:     sensors.ErrAbsent,
			},
		},
	})
}

// Each reading begins with the gain of the last one.
func TestGain(t *testing.T) {
	for _, tt := range []struct {
		name, gain string
		steps      int
		parts      [][]i2ctest.IO
		want       []float64 // the readings' full_spectrum_count
	}{
		{"suits", "auto", 1, [][]i2ctest.IO{measurement(0x10, 2500, 300)}, []float64{100}},
		{
			"up to the highest, and from there", "auto", 1,
			[][]i2ctest.IO{measurement(0x10, 1, 0), measurement(0x20, 20, 2), measurement(0x30, 4938, 50), measurement(0x30, 9876, 50)},
			[]float64{0.5, 1},
		},
		{"down", "auto", 1, [][]i2ctest.IO{measurement(0x10, 36863, 300), measurement(0x00, 5000, 300)}, []float64{5000}},
		{"down for infrared", "auto", 1, [][]i2ctest.IO{measurement(0x10, 30000, 36864), measurement(0x00, 5000, 300)}, []float64{5000}},
		{
			"down, and not up again", "auto", 1,
			[][]i2ctest.IO{measurement(0x10, 36863, 300), measurement(0x00, 5, 0), measurement(0x00, 5, 0), measurement(0x10, 2500, 0)},
			[]float64{5, 100},
		},
		{"fixed", "max", 1, [][]i2ctest.IO{measurement(0x30, 9876, 50)}, []float64{1}},
		{"longer", "medium", 6, [][]i2ctest.IO{measurement(0x15, 60000, 300)}, []float64{400}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := Driver().New().(*Config)
			c.Gain, c.Raw = tt.gain, true
			c.IntegrationTime = quantity.Duration{Duration: time.Duration(tt.steps) * 100 * time.Millisecond}
			s, err := c.Open(t.Context(), sensortest.Playback(t, joined(tt.parts...)))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				got, err := s.Read(t.Context())
				if err != nil || len(got) != 3 || got[1].Name != "full_spectrum_count" || got[1].Value != want {
					t.Errorf("%s: %v, %v; want a count of %g", tt.name, got, err, want)
				}
			}
		})
	}
}

func TestReadTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := joined(measurement(0x10, 2000, 300), measurement(0x10, 2000, 300))
		s, err := Driver().New().Open(t.Context(), sensortest.Playback(t, ops))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got, err := s.Read(t.Context())
		if diff := cmp.Diff([]sensors.Sample{{Name: "illuminance_lux", Value: 235.82}}, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
		}
		if took := time.Since(start); took != 120*time.Millisecond+pollEvery || s.String() != "tsl2591@i2c1:0x29" {
			t.Errorf("%s took %s", s, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("a timeout of 50 ms: %v, want ErrTimeout", err)
		}
	})
}

func TestValidate(t *testing.T) {
	lasts := func(d time.Duration) func(*Config) {
		return func(c *Config) { c.IntegrationTime = quantity.Duration{Duration: d} }
	}
	for _, tt := range []struct {
		change    func(*Config)
		key, want string
	}{
		{func(c *Config) { c.Bus = "one" }, "bus", `"one"`},
		{func(c *Config) { c.Gain = "" }, "gain", `want "auto"`},
		{func(c *Config) { c.Gain = "25x" }, "gain", `"25x"`},
		{lasts(0), "integration_time", "got 0s"},
		{lasts(700 * time.Millisecond), "integration_time", "700ms"},
		{lasts(150 * time.Millisecond), "integration_time", "150ms"},
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

// Whatever the counts are, the chip gives values that can be or an error.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0xe8, 0x03, 0x2c, 0x01}, 1, 1)
	f.Add([]byte{0xff, 0xff, 0x00, 0x00}, 0, 6)
	f.Add([]byte{0, 0, 0, 0}, 3, 6)
	f.Fuzz(func(t *testing.T, b []byte, g, steps int) {
		if len(b) < 4 || g < 0 || gain(g) > gainMax || steps < 1 || steps > maxSteps {
			return
		}
		l := decode([4]byte(b), gain(g), steps)
		samples, err := l.samples(true)
		if (err == nil) != (len(samples) == 3) || (err != nil) != l.saturated() {
			t.Fatalf("%+v: samples %v beside error %v", l, samples, err)
		}
		for _, s := range samples {
			if !(s.Value >= 0 && s.Value <= 300000) {
				t.Errorf("%+v: %s = %g", l, s.Name, s.Value)
			}
		}
	})
}
