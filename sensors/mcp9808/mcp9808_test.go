package mcp9808

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

func TestCelsius(t *testing.T) {
	for _, tt := range []struct {
		word uint16
		want float64
	}{
		{0x0194, 25.25}, // 5.1.3.1
		{0xc194, 25.25}, // with alarms
		{0xc1a9, 26.5625},
		{0xe198, 25.5},
		{0x0000, 0},
		{0x0001, 0.0625},
		{0x1fff, -0.0625},
		{0x1ff0, -1},
		{0x1f60, -10},
		{0x3e70, -25},
		{0x1d80, -40},
		{0xc7d0, 125},
	} {
		if got, err := celsius(tt.word); err != nil || got != tt.want {
			t.Errorf("0x%04x: %g, %v; want %g", tt.word, got, err, tt.want)
		}
	}
	for _, word := range []uint16{0xffff, 0x07d1, 0x1d7f, 0x1000, 0x0fff} {
		if got, err := celsius(word); err == nil {
			t.Errorf("0x%04x: %g, want an error", word, got)
		}
	}
}

func op(w []byte, answer ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x18, W: w, R: answer} }

// setUp is what goes over the bus in Open.
func setUp() []i2ctest.IO {
	return []i2ctest.IO{
		op([]byte{0x06}, 0x00, 0x54),
		op([]byte{0x07}, 0x04, 0x00),
		op([]byte{0x01}, 0x00, 0x00),
		op([]byte{0x08, 0x03}),
		op([]byte{0x01, 0x03, 0x00}),
	}
}

// measurement is what goes over the bus in one Read of a chip that kept its settings.
func measurement(hi, lo byte) []i2ctest.IO {
	return []i2ctest.IO{
		op([]byte{0x01}, 0x03, 0x00),
		op([]byte{0x01, 0x02, 0x00}),
		op([]byte{0x05}, hi, lo),
		op([]byte{0x01}, 0x02, 0x00),
		op([]byte{0x01, 0x03, 0x00}),
	}
}

// answering replaces the answer to one of the transactions.
func answering(ops []i2ctest.IO, at int, answer ...byte) func(*testing.T) sensors.Hardware {
	ops = slices.Clone(ops)
	ops[at].R = answer
	return func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ops) }
}

func TestContract(t *testing.T) {
	all := slices.Concat(setUp(), measurement(0xc1, 0x94))
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    all,
		Faults: []sensortest.Fault{
			{Name: "another maker", Hardware: answering(all, 0, 0x00, 0x55), Want: sensors.ErrAbsent},
			{Name: "another device", Hardware: answering(all, 1, 0x02, 0x01), Want: sensors.ErrAbsent},
			{Name: "locked limits", Hardware: answering(all, 2, 0x00, 0x40), Want: errLocked},
			{Name: "data all 0xff", Hardware: answering(all, 7, 0xff, 0xff)},
			{Name: "too hot", Hardware: answering(all, 7, 0xc7, 0xd1)},
			{Name: "too cold", Hardware: answering(all, 7, 0x3d, 0x7f)},
			{Name: "brown-out while measuring", Hardware: answering(all, 8, 0x00, 0x00), Want: errPowerLost},
			{Name: "settings all 0xff", Hardware: answering(all, 8, 0xff, 0xff), Want: errPowerLost},
			{
				Name:      "another address",
				Hardware:  func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, all) },
				Configure: func(c sensors.Config) { c.(*Config).Address = 0x19 },
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
func open(t *testing.T, ops []i2ctest.IO) sensors.Sensor {
	t.Helper()
	s, err := Driver().New().Open(t.Context(), sensortest.Playback(t, ops))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func expect(t *testing.T, s sensors.Sensor, celsius float64) {
	t.Helper()
	got, err := s.Read(t.Context())
	if diff := cmp.Diff([]sensors.Sample{{Name: "temperature_celsius", Value: celsius}}, got); diff != "" || err != nil {
		t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
	}
}

// A chip that lost its power between two readings answers the reset value of its settings.
func TestBrownOutIsSetUpAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := op([]byte{0x01}, 0x00, 0x00)
		s := open(t, slices.Concat(setUp(), measurement(0x01, 0x94), []i2ctest.IO{lost}, setUp(), measurement(0x1f, 0xf0)[1:]))
		expect(t, s, 25.25)
		expect(t, s, -1)
	})
}

// After a failed reading the chip may be another one: it is identified again.
func TestFailureIsSetUpAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := measurement(0x00, 0x00)
		broken[3].R = []byte{0x00, 0x00}
		s := open(t, slices.Concat(setUp(), broken[:4], setUp(), measurement(0x01, 0x94)[1:]))
		if got, err := s.Read(t.Context()); !errors.Is(err, errPowerLost) {
			t.Errorf("Read: %v, %v; want errPowerLost", got, err)
		}
		expect(t, s, 25.25)
	})
}

func TestDeadlineWhileConverting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, slices.Concat(setUp(), measurement(0x01, 0x94)))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("Read: %v after %s, want ErrTimeout after 100 ms", err, time.Since(start))
		}
	})
}

func TestResolutions(t *testing.T) {
	for resolution, want := range map[float64]struct {
		code byte
		wait time.Duration
	}{
		0.5:    {0, 60 * time.Millisecond},
		0.25:   {1, 130 * time.Millisecond},
		0.125:  {2, 260 * time.Millisecond},
		0.0625: {3, 500 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			ops := slices.Concat(setUp(), measurement(0x01, 0x90))
			ops[3].W = []byte{0x08, want.code}
			c := Driver().New().(*Config)
			c.Resolution = resolution
			s, err := c.Open(t.Context(), sensortest.Playback(t, ops))
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			expect(t, s, 25)
			if took := time.Since(start); took != want.wait {
				t.Errorf("%g °C took %s, want %s", resolution, took, want.wait)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		key    string
	}{
		{func(c *Config) { c.Address = 0x17 }, "address"},
		{func(c *Config) { c.Address = 0x20 }, "address"},
		{func(c *Config) { c.Bus = "one" }, "bus"},
		{func(c *Config) { c.Resolution = 0 }, "resolution"},
		{func(c *Config) { c.Resolution = 0.1 }, "resolution"},
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

// Whatever the word is, the chip gives a value within its range, in its steps, or an error.
func FuzzCelsius(f *testing.F) {
	for _, word := range []uint16{0x0194, 0xc1a9, 0x1d80, 0xc7d0, 0xffff, 0x1000} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word uint16) {
		c, err := celsius(word)
		if err != nil {
			return
		}
		if !(c >= -40 && c <= 125) || uint16(int16(c*16))&0x1fff != word&0x1fff {
			t.Errorf("0x%04x gives %g °C", word, c)
		}
	})
}
