package aht20

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"slices"
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

// Measurements, with what they mean.
const (
	room  = "1c 269a7 642e7 76"
	humid = "18 75520 58e40 7f"
	half  = "18 80000 5999a 85"
	busy  = "98 80000 5999a 69"
	empty = "18 00000 00000 35"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frame is a measurement with a right checksum.
func frame(status byte, humidity, temperature uint32) []byte {
	b := []byte{
		status, byte(humidity >> 12), byte(humidity >> 4), byte(humidity<<4) | byte(temperature>>16), byte(temperature >> 8), byte(temperature),
	}
	return append(b, crc8.Sum(b))
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name              string
		frame             []byte
		celsius, humidity float64
	}{
		{"room", unhex(t, room), 28.27, 15.08},
		{"humid", unhex(t, humid), 19.45, 45.83},
		{"half", unhex(t, half), 20, 50},
		{"coldest, driest", frame(0x18, 1, 52429), -40, 0},
		{"hottest, dew", frame(0x18, 0xfffff, 707789), 85, 100},
		{"without the bit that has no name", frame(0x08, 0x80000, 0x5999a), 20, 50},
	} {
		got, err := decode([frameSize]byte(tt.frame))
		want := []sensors.Sample{{Name: "temperature_celsius", Value: tt.celsius}, {Name: "humidity_percent", Value: tt.humidity}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

// The formulas at full resolution, before rounding.
func TestFormulas(t *testing.T) {
	for _, tt := range []struct {
		humidity, temperature uint32
		percent, celsius      float64
	}{
		{480544, 364096, 45.8282, 19.4458},
		{158119, 410343, 15.0794, 28.2667},
		{524288, 367002, 50, 20.0001},
		{0, 0, 0, -50},
		{1 << 20, 1 << 20, 100, 150},
	} {
		if p, c := percent(tt.humidity), celsius(tt.temperature); math.Abs(p-tt.percent) > 6e-5 || math.Abs(c-tt.celsius) > 6e-5 {
			t.Errorf("%d, %d: %.4f %%, %.4f °C; want %.4f, %.4f", tt.humidity, tt.temperature, p, c, tt.percent, tt.celsius)
		}
	}
}

func write(b ...byte) i2ctest.IO  { return i2ctest.IO{Addr: 0x38, W: b} }
func answer(b ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x38, R: b} }

// conversation is what goes over the bus in one Read; Open is its first transaction.
func conversation(t testing.TB) []i2ctest.IO {
	return []i2ctest.IO{
		answer(0x1c),
		write(0xac, 0x33, 0x00),
		answer(unhex(t, busy)...), // late
		answer(unhex(t, room)...),
	}
}

// initialising is the conversation with a chip that has not loaded its calibration.
func initialising() []i2ctest.IO {
	return []i2ctest.IO{answer(0x10), write(0xba), write(0xbe, 0x08, 0x00), answer(0x18)}
}

// playing returns a machine that plays ops anew each time, the answer to one of the transactions replaced.
func playing(ops []i2ctest.IO, at int, b ...byte) func(*testing.T) sensors.Hardware {
	ops = slices.Clone(ops)
	ops[at].R = b
	return func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ops) }
}

func TestContract(t *testing.T) {
	ops := slices.Concat([]i2ctest.IO{answer(0x18)}, conversation(t))
	const last = 4
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    ops,
		Faults: []sensortest.Fault{
			{Name: "open collector chip with its pins high", Hardware: playing(ops, 0, 0xff), Want: sensors.ErrAbsent},
			{Name: "gone before the measurement", Hardware: playing(ops, 1, 0xff), Want: sensors.ErrAbsent},
			{Name: "gone during the measurement", Hardware: playing(ops, last, unhex(t, "ffffffffffffff")...), Want: sensors.ErrAbsent},
			{Name: "temperature damaged", Hardware: playing(ops, last, unhex(t, "1c 269a7 642e6 76")...), Want: sensors.ErrChecksum},
			{Name: "humidity damaged", Hardware: playing(ops, last, unhex(t, "1c 269b7 642e7 76")...), Want: sensors.ErrChecksum},
			{Name: "status damaged", Hardware: playing(ops, last, unhex(t, "18 269a7 642e7 76")...), Want: sensors.ErrChecksum},
			{Name: "AHT10", Hardware: playing(ops, last, unhex(t, "1c 269a7 642e7 ff")...), Want: sensors.ErrChecksum},
			{Name: "all 0x00", Hardware: playing(ops, last, make([]byte, 7)...), Want: sensors.ErrChecksum},
			{Name: "calibration lost", Hardware: playing(ops, last, frame(0x10, 0x80000, 0x5999a)...), Want: errNotCalibrated},
			{Name: "no values", Hardware: playing(ops, last, unhex(t, empty)...), Want: errNoHumidity},
			{Name: "no humidity", Hardware: playing(ops, last, frame(0x18, 0, 0x5999a)...), Want: errNoHumidity},
			{Name: "too cold", Hardware: playing(ops, last, frame(0x18, 0x80000, 52000)...)},
			{Name: "too hot", Hardware: playing(ops, last, frame(0x18, 0x80000, 708000)...)},
			{
				Name:     "no bus",
				Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) },
				Want:     sensors.ErrAbsent,
			},
		},
	})
}

func TestContractOfAnUncalibratedChip(t *testing.T) {
	ops := slices.Concat(initialising(), conversation(t))
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    ops,
		Faults: []sensortest.Fault{
			{Name: "stays uncalibrated", Hardware: playing(ops, 3, 0x10), Want: errNotCalibrated},
			{Name: "gone after its reset", Hardware: playing(ops, 3, 0xff), Want: sensors.ErrAbsent},
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

func TestTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := open(t, initialising(), conversation(t))
		if got := time.Since(start); got != 30*time.Millisecond {
			t.Errorf("Open of an uncalibrated chip took %s, want 30 ms", got)
		}
		start = time.Now()
		got, err := s.Read(t.Context())
		if err != nil || got[0].Value != 28.27 || time.Since(start) != 90*time.Millisecond {
			t.Errorf("Read: %v, %v after %s; want 28.27 °C after 90 ms", got, err, time.Since(start))
		}
		if s.String() != "aht20@i2c1:0x38" {
			t.Errorf("String: %s", s)
		}
	})
}

// A chip that lost its power and came back without its calibration is initialised before it is believed.
func TestBrownOutIsSetUpAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, conversation(t)[:1], conversation(t), initialising(), conversation(t)[1:], conversation(t))
		for range 3 {
			if got, err := s.Read(t.Context()); err != nil || got[0].Value != 28.27 {
				t.Errorf("Read: %v, %v; want 28.27 °C", got, err)
			}
		}
	})
}

// A reading that was broken off leaves the chip busy: the next one waits and starts anew.
func TestReadAfterADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, conversation(t)[:1], conversation(t)[:2], []i2ctest.IO{answer(0x9c), answer(0x9c)}, conversation(t))
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 50*time.Millisecond {
			t.Errorf("Read: %v after %s, want ErrTimeout after 50 ms", err, time.Since(start))
		}
		if got, err := s.Read(t.Context()); err != nil || got[0].Value != 28.27 {
			t.Errorf("Read: %v, %v; want 28.27 °C", got, err)
		}
	})
}

func TestChipThatStaysBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, conversation(t)[:1], conversation(t)[:2], slices.Repeat(conversation(t)[2:3], polls), slices.Repeat([]i2ctest.IO{answer(0x9c)}, polls))
		for range 2 { // first with its measurement, then at all
			if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) {
				t.Errorf("Read: %v, want ErrTimeout", err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), pollEvery/2)
		defer cancel()
		c := Driver().New()
		_, err := c.Open(ctx, sensortest.Playback(t, []i2ctest.IO{answer(0x9c)}))
		if !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("Open: %v, want ErrTimeout", err)
		}
	})
}

func TestValidate(t *testing.T) {
	c := Driver().New().(*Config)
	c.Bus = "one"
	var said []string
	c.Validate(func(key, msg string) { said = append(said, key+": "+msg) })
	if len(said) != 1 || !strings.HasPrefix(said[0], `bus: i2c bus "one"`) {
		t.Errorf("%q, want one mistake of the bus", said)
	}
}

// Whatever the bytes are, a chip gives values within its range or an error.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{room, humid, half, busy, empty, "1c 00000 00000 58"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != frameSize {
			return
		}
		damaged := crc8.Sum(b[:6]) != b[6]
		samples, err := decode([frameSize]byte(b))
		if (err == nil) != (len(samples) == 2) || errors.Is(err, sensors.ErrChecksum) != damaged {
			t.Fatalf("samples %v beside error %v; damaged: %t", samples, err, damaged)
		}
		limits := [][2]float64{{-40, 85}, {0, 100}}
		for i, s := range samples {
			if !(s.Value >= limits[i][0] && s.Value <= limits[i][1]) {
				t.Errorf("%s = %g", s.Name, s.Value)
			}
		}
	})
}
