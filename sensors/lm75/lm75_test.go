package lm75

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

// talk is what goes over the bus with one kind of chip that measures 25.5 °C.
type talk struct {
	chip           string
	setUp          []i2ctest.IO
	read           []i2ctest.IO // of a chip that kept its settings
	word, settings int          // where in read the temperature and the settings after it are read
	lost           []byte       // the settings after a reset
	wait           time.Duration
}

func op(w []byte, answer ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x48, W: w, R: answer} }

// config and temperature point to the register that is read.
func config() []byte      { return []byte{0x01} }
func temperature() []byte { return []byte{0x00} }

func talks() []talk {
	converting := func(chip string, wait time.Duration) talk {
		return talk{
			chip:  chip,
			setUp: []i2ctest.IO{op(config(), 0x00), op([]byte{0x01, 0x09}), op(config(), 0x09)},
			read: []i2ctest.IO{
				op(config(), 0x09), op([]byte{0x01, 0x08}), op(temperature(), 0x19, 0x80), op(config(), 0x08), op([]byte{0x01, 0x09}),
			},
			word: 2, settings: 3, lost: []byte{0x00}, wait: wait,
		}
	}
	return []talk{
		converting("lm75", 320*time.Millisecond),
		converting("pct2075", 200*time.Millisecond),
		{
			chip:  "tmp75",
			setUp: []i2ctest.IO{op(config(), 0x00), op([]byte{0x01, 0x61}), op(config(), 0x61)},
			read: []i2ctest.IO{
				op(config(), 0x61), op([]byte{0x01, 0xe1}), op(temperature(), 0x19, 0x80), op(config(), 0x61),
			},
			word: 2, settings: 3, lost: []byte{0x00}, wait: 320 * time.Millisecond,
		},
		{
			chip:  "tmp102",
			setUp: []i2ctest.IO{op(config(), 0x60, 0xa0), op([]byte{0x01, 0x61, 0x80}), op(config(), 0x61, 0xa0)},
			read: []i2ctest.IO{
				op(config(), 0xe1, 0xa0), op([]byte{0x01, 0xe1, 0x80}), op(temperature(), 0x19, 0x80), op(config(), 0xe1, 0xa0),
			},
			word: 2, settings: 3, lost: []byte{0x60, 0xa0}, wait: 40 * time.Millisecond,
		},
	}
}

// answering replaces the answer to one of the transactions.
func answering(ops []i2ctest.IO, at int, answer ...byte) func(*testing.T) sensors.Hardware {
	ops = slices.Clone(ops)
	ops[at].R = answer
	return func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ops) }
}

func TestContract(t *testing.T) {
	for _, k := range talks() {
		t.Run(k.chip, func(t *testing.T) {
			all := slices.Concat(k.setUp, k.read)
			word, after := len(k.setUp)+k.word, len(k.setUp)+k.settings
			sensortest.Run(t, sensortest.Case{
				Driver:    Driver(),
				Configure: func(c sensors.Config) { c.(*Config).Chip = k.chip },
				Ops:       all,
				Faults: []sensortest.Fault{
					{Name: "settings not kept", Hardware: answering(all, 2, k.lost...), Want: sensors.ErrAbsent},
					{Name: "brown-out while measuring", Hardware: answering(all, after, k.lost...), Want: errPowerLost},
					{Name: "never converted", Hardware: answering(all, word, 0x80, 0x00)},
					{Name: "too hot", Hardware: answering(all, word, 0x7f, 0xf0)},
					{Name: "too cold", Hardware: answering(all, word, 0xc8, 0x80)},
					{
						Name:      "another address",
						Hardware:  func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, all) },
						Configure: func(c sensors.Config) { c.(*Config).Address = 0x49 },
					},
					{
						Name:     "no bus",
						Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) },
						Want:     sensors.ErrAbsent,
					},
				},
			})
		})
	}
}

// Chips that share the address are told apart where their settings allow, before anything is written to them.
func TestOtherChips(t *testing.T) {
	for _, tt := range []struct {
		configured string
		found      string
		ops        []i2ctest.IO
	}{
		{"lm75", "tmp102", []i2ctest.IO{op(config(), 0x60)}},
		{"lm75", "ads1115", []i2ctest.IO{op(config(), 0x85)}},
		{"pct2075", "ina219", []i2ctest.IO{op(config(), 0x39)}},
		{"tmp102", "lm75", []i2ctest.IO{op(config(), 0x00, 0x00)}},
		{"tmp102", "ads1115", []i2ctest.IO{op(config(), 0x85, 0x83)}},
		{"tmp75", "lm75", []i2ctest.IO{op(config(), 0x00), op([]byte{0x01, 0x61}), op(config(), 0x01)}},
	} {
		c := Driver().New().(*Config)
		c.Chip = tt.configured
		s, err := c.Open(t.Context(), sensortest.Playback(t, tt.ops))
		if !errors.Is(err, sensors.ErrAbsent) {
			t.Errorf("%s opened as %s: %v, %v; want ErrAbsent", tt.found, tt.configured, s, err)
		}
	}
}

func TestCelsius(t *testing.T) {
	for _, tt := range []struct {
		word               uint16
		nine, eleven, full float64
	}{
		{0x0000, 0, 0, 0},
		{0x1900, 25, 25, 25},
		{0x1990, 25.5, 25.5, 25.5625},
		{0x19e0, 25.5, 25.875, 25.875},
		{0xe6f0, -25.5, -25.125, -25.0625},
		{0xff80, -0.5, -0.5, -0.5},
		{0xe700, -25, -25, -25},
		{0xc900, -55, -55, -55},
		{0x7d00, 125, 125, 125},
		{0x3200, 50, 50, 50},            // SBOS288M, table 7-1
		{0x0040, 0, 0.25, 0.25},         // SBOS288M, table 7-1
		{0xffc0, -0.5, -0.25, -0.25},    // SBOS288M, table 7-1
		{0x191f, 25, 25, 25.0625},       // junk in the undefined bits
		{0xfffe, -0.5, -0.125, -0.0625}, // the same
	} {
		for chip, want := range map[string]float64{"lm75": tt.nine, "pct2075": tt.eleven, "tmp75": tt.full, "tmp102": tt.full} {
			m, _ := modelOf(chip)
			if got, err := m.celsius(tt.word); err != nil || got != want {
				t.Errorf("%s: 0x%04x: %g, %v; want %g", chip, tt.word, got, err, want)
			}
		}
	}
}

func TestStuckHigh(t *testing.T) {
	for chip, refused := range map[string]bool{"lm75": false, "pct2075": true, "tmp75": true, "tmp102": true} {
		m, _ := modelOf(chip)
		if c, err := m.celsius(0xffff); (err != nil) != refused || (err == nil && c != -0.5) {
			t.Errorf("%s: %g, %v; want refused: %t", chip, c, err, refused)
		}
	}
}

// open opens the chip on the other end of ops.
func open(t *testing.T, k talk, ops ...[]i2ctest.IO) sensors.Sensor {
	t.Helper()
	c := Driver().New().(*Config)
	c.Chip = k.chip
	s, err := c.Open(t.Context(), sensortest.Playback(t, slices.Concat(ops...)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// expect reads 25.5 °C.
func expect(t *testing.T, s sensors.Sensor) {
	t.Helper()
	got, err := s.Read(t.Context())
	if diff := cmp.Diff([]sensors.Sample{{Name: "temperature_celsius", Value: 25.5}}, got); diff != "" || err != nil {
		t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
	}
}

func TestReadTakesOneConversion(t *testing.T) {
	for _, k := range talks() {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, k, k.setUp, k.read)
			start := time.Now()
			expect(t, s)
			if took := time.Since(start); took != k.wait || s.String() != k.chip+"@i2c1:0x48" {
				t.Errorf("%s took %s, want %s", s, took, k.wait)
			}
		})
	}
}

// A chip that lost its power between two readings answers the reset value of its settings.
func TestBrownOutIsSetUpAnew(t *testing.T) {
	for _, k := range talks() {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, k, k.setUp, k.read, []i2ctest.IO{op(config(), k.lost...)}, k.setUp, k.read[1:])
			expect(t, s)
			expect(t, s)
		})
	}
}

// After a failed reading the chip may be another one: it is checked again.
func TestFailureIsSetUpAnew(t *testing.T) {
	for _, k := range talks() {
		synctest.Test(t, func(t *testing.T) {
			broken := slices.Clone(k.read[:k.settings+1])
			broken[k.settings].R = k.lost
			s := open(t, k, k.setUp, broken, k.setUp, k.read[1:])
			if got, err := s.Read(t.Context()); !errors.Is(err, errPowerLost) {
				t.Errorf("%s: Read: %v, %v; want errPowerLost", s, got, err)
			}
			expect(t, s)
		})
	}
}

func TestChipThatStaysBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := talks()[3]
		k.read[k.settings].R = []byte{0x61, 0xa0}
		if _, err := open(t, k, k.setUp, k.read).Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("Read: %v, want ErrTimeout", err)
		}
	})
}

func TestDeadlineWhileConverting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := talks()[0]
		s := open(t, k, k.setUp, k.read)
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
		keys   []string
	}{
		{func(c *Config) { c.Chip = "tmp102"; c.Address = 0x4b }, nil},
		{func(c *Config) { c.Chip = "tmp102"; c.Address = 0x4c }, []string{"address"}},
		{func(c *Config) { c.Address = 0x4f }, nil},
		{func(c *Config) { c.Address = 0x50 }, []string{"address"}},
		{func(c *Config) { c.Address = 0x47 }, []string{"address"}},
		{func(c *Config) { c.Chip = "lm35"; c.Address = 0x4f }, []string{"chip"}},
		{func(c *Config) { c.Chip = "" }, []string{"chip"}},
		{func(c *Config) { c.Bus = "one" }, []string{"bus"}},
	} {
		c := Driver().New().(*Config)
		tt.change(c)
		var keys []string
		c.Validate(func(key, _ string) { keys = append(keys, key) })
		if diff := cmp.Diff(tt.keys, keys); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c, diff)
		}
	}
}

// Whatever the word is, a chip gives a value within its range, in its steps and not above what the word says, or an error.
func FuzzCelsius(f *testing.F) {
	for _, word := range []uint16{0x1990, 0xe6f0, 0xc900, 0x7d00, 0x8000, 0xffff} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word uint16) {
		for _, chip := range []string{"lm75", "pct2075", "tmp75", "tmp102"} {
			m, _ := modelOf(chip)
			c, err := m.celsius(word)
			if err != nil {
				continue
			}
			step := 256 / float64(int(1)<<m.bits)
			above := float64(int16(word))/256 - c
			if !(c >= -55 && c <= 125) || c/step != float64(int(c/step)) || above < 0 || above >= step {
				t.Errorf("%s: 0x%04x gives %g °C", chip, word, c)
			}
		}
	})
}
