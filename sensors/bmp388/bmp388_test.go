package bmp388

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

func op(w []byte, answer ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x77, W: w, R: answer} }

// conversation is what goes over the bus in setUp and in one Read of a chip that kept its settings.
func conversation(t *testing.T, r row, id byte) (setUp, read []i2ctest.IO) {
	t.Helper()
	setUp = []i2ctest.IO{
		op([]byte{0x00}, id),
		op([]byte{0x02}, 0x04, 0x10), // an error of the past
		op([]byte{0x7e, 0xb6}),
		op([]byte{0x02}, 0x00, 0x00), // still starting
		op([]byte{0x02}, 0x00, 0x10),
		op([]byte{0x31}, unhex(t, r.words)...),
		op([]byte{0x10}, 0x01),
		op([]byte{0x1c, 0x00}),
	}
	read = []i2ctest.IO{
		op([]byte{0x10}, 0x00),
		op([]byte{0x1b}, 0x03, 0x00, 0x00, 0x00, 0x00),
		op([]byte{0x1b, 0x13}),
		op([]byte{0x02}, 0x00, 0x30), // the temperature is not done
		op([]byte{0x02}, 0x00, 0x70),
		op([]byte{0x04}, unhex(t, r.data)...),
	}
	return setUp, read
}

// answering replaces the answer to one of the transactions.
func answering(ops []i2ctest.IO, at int, answer ...byte) func(*testing.T) sensors.Hardware {
	ops = slices.Clone(ops)
	ops[at].R = answer
	return func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ops) }
}

func TestContract(t *testing.T) {
	setUp, read := conversation(t, rows()[0], idBMP388)
	all := slices.Concat(setUp, read)
	const calib, status = 5, 11
	last := len(all) - 1
	with := func(at int, b ...byte) []byte { d := slices.Clone(all[last].R); copy(d[at:], b); return d }
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    all,
		Faults: []sensortest.Fault{
			{Name: "no chip id", Hardware: answering(all, 0, 0x00), Want: sensors.ErrAbsent},
			{Name: "BME280", Hardware: answering(all, 0, 0x58), Want: sensors.ErrAbsent},
			{Name: "reset refused", Hardware: answering(all, 4, 0x02, 0x10), Want: errReported},
			{Name: "fatal error", Hardware: answering(all, 4, 0x01, 0x10), Want: errReported},
			{Name: "calibration all 0x00", Hardware: answering(all, calib, make([]byte, 21)...), Want: errImplausible},
			{Name: "calibration all 0xff", Hardware: answering(all, calib, slices.Repeat([]byte{0xff}, 21)...), Want: errImplausible},
			{Name: "configuration refused", Hardware: answering(all, status, 0x04, 0x00), Want: errReported},
			{Name: "pressure skipped", Hardware: answering(all, last, with(0, 0, 0, 0x80)...), Want: errNotConverted},
			{Name: "temperature skipped", Hardware: answering(all, last, with(3, 0, 0, 0x80)...), Want: errNotConverted},
			{Name: "too hot", Hardware: answering(all, last, with(3, 0, 0, 0xff)...)},
			{Name: "too cold", Hardware: answering(all, last, with(3, 0, 0, 0x10)...)},
			{Name: "pressure too low", Hardware: answering(all, last, with(0, 0, 0, 0xff)...)},
			{Name: "pressure too high", Hardware: answering(all, last, with(0, 0, 0, 0x01)...)},
			{Name: "data all 0x00", Hardware: answering(all, last, make([]byte, 6)...)},
			{Name: "data all 0xff", Hardware: answering(all, last, slices.Repeat([]byte{0xff}, 6)...)},
			{
				Name:      "another address",
				Hardware:  func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, all) },
				Configure: func(c sensors.Config) { c.(*Config).Address = 0x76 },
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

func expect(t *testing.T, s sensors.Sensor, celsius, pascals float64) {
	t.Helper()
	got, err := s.Read(t.Context())
	want := []sensors.Sample{{Name: "temperature_celsius", Value: celsius}, {Name: "pressure_pascals", Value: pascals}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
	}
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		id               byte
		row              int
		name             string
		celsius, pascals float64
	}{
		{idBMP388, 0, "bmp388@i2c1:0x77", 30.5, 100876},
		{idBMP390, 1, "bmp390@i2c1:0x77", 25.77, 98370.6},
		{idBMP390, 2, "bmp390@i2c1:0x77", 25.5, 100548.4},
	} {
		synctest.Test(t, func(t *testing.T) {
			setUp, read := conversation(t, rows()[tt.row], tt.id)
			s := open(t, setUp, read)
			expect(t, s, tt.celsius, tt.pascals)
			if s.String() != tt.name {
				t.Errorf("String: %q, want %q", s, tt.name)
			}
		})
	}
}

// A chip that lost its power, or that other software changed, is set up anew; it may be another one, with other words.
func TestChangedChipIsSetUpAnew(t *testing.T) {
	setUp, read := conversation(t, rows()[0], idBMP388)
	again, readAgain := conversation(t, rows()[1], idBMP390)
	for name, found := range map[string][]i2ctest.IO{
		"power lost":         {op([]byte{0x10}, 0x01), op([]byte{0x1b}, 0x00, 0x02, 0x00, 0x00, 0x00)},
		"power lost unseen":  {op([]byte{0x10}, 0x01), op([]byte{0x1b}, 0x03, 0x00, 0x00, 0x00, 0x00)}, // at oversampling 4 the settings are those of a reset
		"other mode":         {op([]byte{0x10}, 0x00), op([]byte{0x1b}, 0x33, 0x00, 0x00, 0x00, 0x00)},
		"other resolution":   {op([]byte{0x10}, 0x00), op([]byte{0x1b}, 0x03, 0x02, 0x00, 0x00, 0x00)},
		"filter switched on": {op([]byte{0x10}, 0x00), op([]byte{0x1b}, 0x03, 0x00, 0x00, 0x00, 0x02)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, setUp, read, found, again, readAgain[2:])
				expect(t, s, 30.5, 100876)
				expect(t, s, 25.77, 98370.6)
			})
		})
	}
}

// Data that a failed reading left behind must not pass for the next one's.
func TestFailureIsSetUpAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation(t, rows()[0], idBMP388)
		busy := slices.Repeat(read[3:4], polls)
		s := open(t, setUp, read[:3], busy, setUp, read[2:])
		if got, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("Read: %v, %v; want ErrTimeout", got, err)
		}
		expect(t, s, 30.5, 100876)
	})
}

func TestTiming(t *testing.T) {
	for _, tt := range []struct {
		oversampling int
		want         time.Duration
		osr          byte
	}{
		{1, 5979 * time.Microsecond, 0x00},
		{2, 7999 * time.Microsecond, 0x01},
		{4, 12039 * time.Microsecond, 0x02},
		{8, 20119 * time.Microsecond, 0x03},
		{16, 38299 * time.Microsecond, 0x0c},
		{32, 70619 * time.Microsecond, 0x0d},
	} {
		d := &device{oversampling: tt.oversampling}
		if got := d.conversionTime(); got != tt.want || d.osr() != tt.osr {
			t.Errorf("oversampling %d: %s, OSR 0x%02x; want %s, 0x%02x", tt.oversampling, got, d.osr(), tt.want, tt.osr)
		}
	}
}

func TestDeadlineWhileMeasuring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation(t, rows()[0], idBMP388)
		s := open(t, setUp, read)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 5*time.Millisecond {
			t.Errorf("Read: %v after %s, want ErrTimeout after 5 ms", err, time.Since(start))
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		key    string
	}{
		{func(c *Config) { c.Address = 0x40 }, "address"},
		{func(c *Config) { c.Address = -1 }, "address"},
		{func(c *Config) { c.Bus = "one" }, "bus"},
		{func(c *Config) { c.Oversampling = 0 }, "oversampling"},
		{func(c *Config) { c.Oversampling = 3 }, "oversampling"},
		{func(c *Config) { c.Oversampling = 64 }, "oversampling"},
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
