package scd4x

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"iotagent/internal/crc8"
	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes are those of the examples in sections 3.6 and 3.7.
func TestSettingBytes(t *testing.T) {
	offset, altitude, pressure, on, off := 5.4, 1950, 98700.0, true, false
	for _, tt := range []struct {
		config Config
		want   string
	}{
		{Config{TemperatureOffset: &offset}, "241d 07e6 48"},
		{Config{Altitude: &altitude}, "2427 079e 09"},
		{Config{Pressure: &pressure}, "e000 03db 42"},
		{Config{SelfCalibration: &on}, "2416 0001 b0"},
		{Config{SelfCalibration: &off}, "2416 0000 81"},
	} {
		got := tt.config.settings()
		if len(got) != 1 || hex.EncodeToString(got[0].bytes()) != strings.ReplaceAll(tt.want, " ", "") {
			t.Errorf("%+v, want %s", got, tt.want)
		}
	}
	four := 4.0
	if got := (&Config{TemperatureOffset: &four}).settings()[0].value; got != 1498 {
		t.Errorf("offset of 4 °C: %d, want 1498", got)
	}
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name, frame        string
		co2, celsius, humi float64
	}{
		{"example of section 3.5.2", "01f433 6667a2 5eb93c", 500, 25, 37},
		{"frost", hex.EncodeToString(words(1, 0x3334, 0)), 1, -10, 0},
		{"hot and humid, end of the scale", hex.EncodeToString(words(40000, 0x999a, 0xffff)), 40000, 60, 100},
	} {
		ws, err := parse(unhex(t, tt.frame))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got, err := samples(ws)
		want := []sensors.Sample{
			{Name: "co2_ppm", Value: tt.co2}, {Name: "temperature_celsius", Value: tt.celsius}, {Name: "humidity_percent", Value: tt.humi},
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
	if c, p := celsius(0x6667), percent(0x5eb9); math.Abs(c-25.0027) > 5e-5 || math.Abs(p-37.0016) > 5e-5 {
		t.Errorf("the datasheet's words: %.4f °C, %.4f %%", c, p)
	}
}

// conversation is what goes over the bus in Open and in one Read.
func conversation(t testing.TB) []i2ctest.IO {
	op := func(w, r string) i2ctest.IO {
		io := i2ctest.IO{Addr: 0x62}
		if w != "" {
			io.W = unhex(t, w)
		}
		if r != "" {
			io.R = unhex(t, r)
		}
		return io
	}
	return []i2ctest.IO{
		op("3682", ""), op("", "f89631 9f07c2 3bbe89"), op("3646", ""), op("21b1", ""),
		op("e4b8", ""), op("", "8000a2"), // not yet
		op("e4b8", ""), op("", "800604"), op("ec05", ""), op("", "01f433 6667a2 5eb93c"),
	}
}

// answering replaces the answer to one of the transactions.
func answering(at int, answer []byte) func(*testing.T) sensors.Hardware {
	return func(t *testing.T) sensors.Hardware {
		ops := conversation(t)
		ops[at].R = answer
		return sensortest.Playback(t, ops)
	}
}

func TestContract(t *testing.T) {
	const serial, measured = 1, 9
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    conversation(t),
		Faults: []sensortest.Fault{
			{Name: "serial number damaged", Hardware: answering(serial, unhex(t, "f89631 9f07c2 3bbe88")), Want: sensors.ErrChecksum},
			{Name: "status damaged", Hardware: answering(7, unhex(t, "800605")), Want: sensors.ErrChecksum},
			{Name: "CO₂ damaged", Hardware: answering(measured, unhex(t, "01f533 6667a2 5eb93c")), Want: sensors.ErrChecksum},
			{Name: "humidity damaged", Hardware: answering(measured, unhex(t, "01f433 6667a2 5eb83c")), Want: sensors.ErrChecksum},
			{Name: "no CO₂", Hardware: answering(measured, words(0, 0x6667, 0x5eb9)), Want: errBroken},
			{Name: "absurd CO₂", Hardware: answering(measured, words(40001, 0x6667, 0x5eb9)), Want: errBroken},
			{Name: "noughts with right checksums", Hardware: answering(measured, words(0, 0, 0)), Want: errBroken},
			{Name: "too cold", Hardware: answering(measured, words(500, 0x3300, 0x5eb9))},
			{Name: "too hot", Hardware: answering(measured, words(500, 0x9a00, 0x5eb9))},
			{
				Name:      "a mode that Validate refuses",
				Hardware:  func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, conversation(t)) },
				Configure: func(c sensors.Config) { c.(*Config).Mode = "fast" },
			},
			{
				Name:     "no bus",
				Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) },
				Want:     sensors.ErrAbsent,
			},
		},
	})
}

func TestContractSingleShot(t *testing.T) {
	mode := func(c sensors.Config) { c.(*Config).Mode = "single-shot" }
	sensortest.Run(t, sensortest.Case{
		Driver:    Driver(),
		Configure: mode,
		Hardware:  func(t *testing.T) sensors.Hardware { return machine(t, &chip{variant: 0x1408, co2: 500}) },
		Faults: []sensortest.Fault{{
			Name:     "SCD40",
			Hardware: func(t *testing.T) sensors.Hardware { return machine(t, &chip{variant: 0x0440, co2: 500}) },
		}},
	})
}

// open opens c on a machine with that chip and returns a function that reads CO₂.
func open(t *testing.T, on *chip, c *Config) (s sensors.Sensor, co2 func() (float64, error)) {
	t.Helper()
	s, err := c.Open(t.Context(), machine(t, on))
	if err != nil {
		t.Fatal(err)
	}
	return s, func() (float64, error) {
		got, err := s.Read(t.Context())
		if err != nil {
			return 0, err
		}
		return got[0].Value, nil
	}
}

func config(mode string) *Config {
	c := Driver().New().(*Config)
	c.Mode = mode
	return c
}

// Each reading waits for a measurement that no other reading had.
func TestEachMeasurementIsReadOnce(t *testing.T) {
	for mode, period := range map[string]time.Duration{"periodic": 5 * time.Second, "low-power": 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			on := &chip{co2: 500}
			s, read := open(t, on, config(mode))
			start := time.Now()
			for i := range 3 {
				if got, err := read(); err != nil || got != float64(501+i) {
					t.Errorf("%s: reading %d: %g, %v", mode, i, got, err)
				}
			}
			if took := time.Since(start); took < 3*period || took > 3*period+time.Second {
				t.Errorf("%s: three readings took %s", mode, took)
			}
			time.Sleep(10 * period) // virtual
			start = time.Now()
			if got, err := read(); err != nil || got != 513 || time.Since(start) > 10*time.Millisecond {
				t.Errorf("%s: after a pause: %g, %v in %s; want the newest at once", mode, got, err, time.Since(start))
			}
			if err := s.Halt(); err != nil || on.period != 0 || on.starts != 1 {
				t.Errorf("%s: Halt: %v, period %s, started %d times", mode, err, on.period, on.starts)
			}
		})
	}
}

// An agent that was killed leaves a chip that measures, and one that was stopped may leave one that sleeps.
func TestChipThatDoesNotAnswerAtFirst(t *testing.T) {
	for name, on := range map[string]*chip{
		"measuring": {co2: 500, period: 5 * time.Second},
		"asleep":    {co2: 500, asleep: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			if on.period > 0 {
				on.next = time.Now().Add(time.Second)
			}
			_, read := open(t, on, config("periodic"))
			if got, err := read(); err != nil || got != 501 || on.starts != 1 {
				t.Errorf("%s: %g, %v, started %d times; want a measurement of a new start", name, got, err, on.starts)
			}
		})
	}
}

// A chip that lost its power idles, with the settings of its EEPROM.
func TestLossOfPower(t *testing.T) {
	for _, mode := range []string{"periodic", "single-shot"} {
		synctest.Test(t, func(t *testing.T) {
			on := &chip{variant: 0x5441, co2: 500}
			c := config(mode)
			off := false
			c.SelfCalibration = &off
			_, read := open(t, on, c)
			if _, err := read(); err != nil {
				t.Fatal(err)
			}
			on.lose()
			got, err := read()
			if value, ok := on.settings[0x2416]; err != nil || got < 502 || !ok || value != 0 {
				t.Errorf("%s: %g, %v, settings %v", mode, got, err, on.settings)
			}
		})
	}
}

func TestSingleShot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := &chip{variant: 0x1408, co2: 500}
		s, read := open(t, on, config("single-shot"))
		for i, want := range []float64{502, 503} { // the first is thrown away
			if got, err := read(); err != nil || got != want {
				t.Errorf("reading %d: %g, %v; want %g", i, got, err, want)
			}
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Read(short); !errors.Is(err, sensors.ErrTimeout) || !strings.Contains(err.Error(), "5s") {
			t.Errorf("a timeout of 1 s: %v", err)
		}
		if got, err := read(); err != nil || got != 505 || on.shots != 5 {
			t.Errorf("after a reading that was broken off: %g, %v after %d shots", got, err, on.shots)
		}
		if err := s.Halt(); err != nil || !on.asleep {
			t.Errorf("Halt: %v, asleep: %t", err, on.asleep)
		}
	})
}

// The first measurement outlasts a short timeout; the next reading has it.
func TestDeadlineWhileMeasuring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, read := open(t, &chip{co2: 500}, config("periodic"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 3*time.Second {
			t.Errorf("Read: %v after %s, want ErrTimeout after 3 s", err, time.Since(start))
		}
		if got, err := read(); err != nil || got != 501 || s.String() != "scd4x@i2c1:0x62" {
			t.Errorf("%s: %g, %v", s, got, err)
		}
	})
}

// deaf answers as a chip that acknowledges its start and never measures.
type deaf struct{ chip }

func (d *deaf) Tx(addr uint16, w, r []byte) error {
	err := d.chip.Tx(addr, w, r)
	d.period = 0
	return err
}

func TestChipThatNeverMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := &deaf{}
		s, err := config("periodic").Open(t.Context(), &sensortest.Machine{Bus: on, Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = s.Read(t.Context())
		if took := time.Since(start); !errors.Is(err, sensors.ErrTimeout) || on.starts != 2 || took < 20*time.Second || took > 21*time.Second {
			t.Errorf("Read: %v after %d starts in %s, want ErrTimeout after 2 starts, each with two periods", err, on.starts, took)
		}
	})
}

func TestValidate(t *testing.T) {
	number := func(x float64) *float64 { return &x }
	whole := func(n int) *int { return &n }
	for _, tt := range []struct {
		change    func(*Config)
		key, want string
	}{
		{func(c *Config) { c.Bus = "one" }, "bus", `"one"`},
		{func(c *Config) { c.Mode = "fast" }, "mode", `"fast"`},
		{func(c *Config) { c.TemperatureOffset = number(-1) }, "temperature_offset_celsius", "0..20"},
		{func(c *Config) { c.TemperatureOffset = number(21) }, "temperature_offset_celsius", "21"},
		{func(c *Config) { c.TemperatureOffset = number(math.NaN()) }, "temperature_offset_celsius", "NaN"},
		{func(c *Config) { c.Altitude = whole(-1) }, "altitude_meters", "0..3000"},
		{func(c *Config) { c.Altitude = whole(3001) }, "altitude_meters", "3001"},
		{func(c *Config) { c.Pressure = number(1013) }, "pressure_pascals", "hPa"},
		{func(c *Config) { c.Pressure = number(120001) }, "pressure_pascals", "120001"},
		{func(c *Config) { c.Pressure, c.Altitude = number(98700), whole(3) }, "altitude_meters", "no effect"},
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

// Whatever the bytes are, a chip gives values within its range or an error.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"01f433 6667a2 5eb93c", "000081 000081 000081", "ffffac ffffac ffffac", "01f432 6667a2 5eb93c"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 9 {
			return
		}
		b = b[:9]
		damaged := crc8.Sum(b[0:2]) != b[2] || crc8.Sum(b[3:5]) != b[5] || crc8.Sum(b[6:8]) != b[8]
		ws, err := parse(b)
		if errors.Is(err, sensors.ErrChecksum) != damaged {
			t.Fatalf("%v; damaged: %t", err, damaged)
		}
		if err != nil {
			return
		}
		all, err := samples(ws)
		if (err == nil) != (len(all) == 3) {
			t.Fatalf("samples %v beside error %v", all, err)
		}
		limits := [][2]float64{{1, 40000}, {-10, 60}, {0, 100}}
		for i, s := range all {
			if !(s.Value >= limits[i][0] && s.Value <= limits[i][1]) {
				t.Errorf("%s = %g", s.Name, s.Value)
			}
		}
	})
}
