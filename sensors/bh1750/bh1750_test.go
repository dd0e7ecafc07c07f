package bh1750

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// A line that is stuck at 0 reads as darkness, which is why the recorded conversation is not what the contract is tested with.
func TestContract(t *testing.T) {
	sensortest.Run(t, sensortest.Case{
		Driver:   Driver(),
		Hardware: machine(320),
		Faults: append(
			busFaults(),
			sensortest.Fault{Name: "too bright", Hardware: machine(130000), Want: errDazzled},
			sensortest.Fault{
				Name: "another address", Hardware: machine(320), Want: sensors.ErrAbsent,
				Configure: func(c sensors.Config) { c.(*Config).Address = 0x5c },
			},
			sensortest.Fault{
				Name:     "no bus",
				Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) },
				Want:     sensors.ErrAbsent,
			},
			sensortest.Fault{
				Name:     "the kernel has it",
				Hardware: func(t *testing.T) sensors.Hardware { return bound(t) },
			},
		),
	})
}

// The example of the datasheet (page 10: 28067 lx), and its formula elsewhere in the range.
func TestDecode(t *testing.T) {
	tests := []struct {
		raw   uint16
		mode  string
		time  int
		exact float64
		want  float64
	}{
		{0x8390, "high", 69, 28066.6667, 28066.67},
		{0x8390, "high2", 69, 14033.3333, 14033.33},
		{0x8390, "high", 138, 14033.3333, 14033.33},
		{0x8390, "low", 69, 28066.6667, 28066.67},
		{0x0001, "high2", 254, 0.11319, 0.11},
		{0x0000, "high", 69, 0, 0},
		{0xfffe, "high", 31, 121555, 121555},
	}
	for _, tt := range tests {
		s := setting{modes()[tt.mode], tt.time}
		got, err := s.decode([2]byte{byte(tt.raw >> 8), byte(tt.raw)})
		if err != nil || got != tt.want || math.Abs(s.lux(tt.raw)-tt.exact) > 1e-4 {
			t.Errorf("%04x in %s, %d: %g (%g), %v; want %g (%g)", tt.raw, tt.mode, tt.time, got, s.lux(tt.raw), err, tt.want, tt.exact)
		}
	}
	for time, limit := range map[int]float64{69: 54612.5, 31: 121556.8548} {
		s := setting{modes()["high"], time}
		if _, err := s.decode([2]byte{0xff, 0xff}); !errors.Is(err, errDazzled) || math.Abs(s.lux(0xffff)-limit) > 1e-4 {
			t.Errorf("ffff at %d: %v at %g, want errDazzled at %g", time, err, s.lux(0xffff), limit)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, tt := range []struct {
		mode string
		time int
		ms   float64
	}{
		{"high", 31, 80.87}, {"high", 69, 180}, {"high2", 69, 180}, {"high", 138, 360}, {"high2", 254, 662.61}, {"low", 69, 24},
	} {
		got := setting{modes()[tt.mode], tt.time}.duration()
		if math.Abs(got.Seconds()*1000-tt.ms) > 0.01 {
			t.Errorf("%s, %d: %s, want %g ms", tt.mode, tt.time, got, tt.ms)
		}
	}
}

func op(w []byte, answer ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x23, W: w, R: answer} }

// What goes over the bus, byte for byte: an opening, a reading, one that is dazzled and repeated.
func TestConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sensortest.Playback(t, []i2ctest.IO{
			op([]byte{0x00}),
			op([]byte{0x01}), op([]byte{0x44}), op([]byte{0x6a}), op([]byte{0x21}), op(nil, 0x83, 0x90),
			op([]byte{0x01}), op([]byte{0x44}), op([]byte{0x6a}), op([]byte{0x21}), op(nil, 0xff, 0xff),
			op([]byte{0x01}), op([]byte{0x40}), op([]byte{0x7f}), op([]byte{0x20}), op(nil, 0x83, 0x90),
			op([]byte{0x00}),
		})
		c := Driver().New().(*Config)
		c.Mode, c.MeasurementTime = "high2", 138
		s, err := c.Open(t.Context(), m)
		if err != nil || s.String() != "bh1750@i2c1:0x23" {
			t.Fatalf("Open: %v, %v", s, err)
		}
		start := time.Now()
		for _, want := range []float64{7016.67, 62470.97} {
			got, err := s.Read(t.Context())
			if diff := cmp.Diff([]sensors.Sample{{Name: "illuminance_lux", Value: want}}, got); diff != "" || err != nil {
				t.Errorf("Read: %v (-want +got):\n%s", err, diff)
			}
		}
		if err := s.Halt(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start).Round(time.Millisecond); took != 801*time.Millisecond {
			t.Errorf("two readings took %s, want 360 + 360 + 81 ms", took)
		}
	})
}

// A chip that takes as long as the datasheet allows is read after it has finished, in every setting and light.
func TestLight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for mode, step := range map[string]float64{"high": 0.84, "high2": 0.42, "low": 0.84} {
			for _, mt := range []int{31, 69, 100, 254} {
				for _, lux := range []float64{0, 1, 320, 20000, 54000, 100000, 121000} {
					c := &Config{Bus: "1", Address: 0x23, Mode: mode, MeasurementTime: mt}
					s, err := c.Open(t.Context(), on(t, &chip{lux: lux, failAt: -1}))
					if err != nil {
						t.Fatal(err)
					}
					got, err := s.Read(t.Context())
					if err != nil || math.Abs(got[0].Value-lux) > step*69/31 {
						t.Errorf("%s, %d: %v, %v; want %g lx", mode, mt, got, err, lux)
					}
				}
			}
		}
	})
}

func TestDeadlineWhileMeasuring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Driver().New().Open(t.Context(), machine(320)(t))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("Read: %v after %s, want ErrTimeout after 100 ms", err, time.Since(start))
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		key    string
	}{
		{func(c *Config) { c.Address = 0x24 }, "address"},
		{func(c *Config) { c.Address = -1 }, "address"},
		{func(c *Config) { c.Bus = "one" }, "bus"},
		{func(c *Config) { c.Mode = "H" }, "mode"},
		{func(c *Config) { c.Mode = "" }, "mode"},
		{func(c *Config) { c.MeasurementTime = 30 }, "measurement_time"},
		{func(c *Config) { c.MeasurementTime = 255 }, "measurement_time"},
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

// Whatever the bytes are, a chip gives values within its range or an error.
func FuzzDecode(f *testing.F) {
	f.Add(byte(0x83), byte(0x90), byte(69))
	f.Add(byte(0xff), byte(0xff), byte(31))
	f.Add(byte(0x00), byte(0x00), byte(254))
	f.Fuzz(func(t *testing.T, high, low, mt byte) {
		if mt < minTime || mt > maxTime {
			return
		}
		for name, m := range modes() {
			lux, err := setting{m, int(mt)}.decode([2]byte{high, low})
			if (err != nil) != (high == 0xff && low == 0xff) || !(lux >= 0 && lux <= 121556) {
				t.Errorf("%02x%02x in %s, %d: %g, %v", high, low, name, mt, lux, err)
			}
		}
	})
}
