package sht4x

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

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frame is a frame with right checksums.
func frame(first, second uint16) []byte {
	word := func(w uint16) []byte { b := []byte{byte(w >> 8), byte(w)}; return append(b, crc8.Sum(b)) }
	return append(word(first), word(second)...)
}

// decode is what Read makes of a frame.
func decode(b []byte) ([]sensors.Sample, error) {
	a, err := parse([frameSize]byte(b))
	if err != nil {
		return nil, err
	}
	return a.samples()
}

func TestChecksum(t *testing.T) {
	for in, want := range map[string]byte{"beef": 0x92, "0000": 0x81, "ffff": 0xac} { // the first is the datasheet's
		if got := crc8.Sum(unhex(t, in)); got != want {
			t.Errorf("checksum of %s: 0x%02x, want 0x%02x", in, got, want)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name, frame       string
		celsius, humidity float64
	}{
		{"room", "666693 8000a2", 25, 56.5},
		{"cool", "5d2f8e 7a3cec", 18.7, 53.69},
		{"frost", "2e8ba0 c0002b", -13.18, 87.75},
		{"coldest", hex.EncodeToString(frame(0x0751, 0x8000)), -40, 56.5},
		{"hottest", hex.EncodeToString(frame(0xf8ae, 0x8000)), 125, 56.5},
		{"a little below 0 %", hex.EncodeToString(frame(0x6666, 3000)), 25, 0},
		{"last raw value that is cropped to 0 %", hex.EncodeToString(frame(0x6666, 3145)), 25, 0},
		{"0.01 %", hex.EncodeToString(frame(0x6666, 3151)), 25, 0.01},
		{"first raw value that is cropped to 100 %", hex.EncodeToString(frame(0x6666, 55574)), 25, 100},
		{"dew", hex.EncodeToString(frame(0x6666, 57000)), 25, 100},
		{"0x8000 in the temperature only", hex.EncodeToString(frame(0x8000, 0x7fff)), 42.5, 56.5},
	} {
		got, err := decode(unhex(t, tt.frame))
		want := []sensors.Sample{{Name: "temperature_celsius", Value: tt.celsius}, {Name: "humidity_percent", Value: tt.humidity}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

// The formulas at full resolution, before rounding and cropping.
func TestFormulas(t *testing.T) {
	for _, tt := range []struct {
		raw              uint16
		celsius, percent float64
	}{
		{0, -45, -6},
		{0x5d2f, 18.7007, 39.5005},
		{0x7a3c, 38.5599, 53.6857},
		{0x8000, 42.5013, 56.5010},
		{0xffff, 130, 119},
	} {
		if c, p := celsius(tt.raw), percent(tt.raw); math.Abs(c-tt.celsius) > 5e-5 || math.Abs(p-tt.percent) > 5e-5 {
			t.Errorf("0x%04x: %.4f °C, %.4f %%; want %.4f, %.4f", tt.raw, c, p, tt.celsius, tt.percent)
		}
	}
}

// conversation is what goes over the bus in Open and in one Read.
func conversation(t testing.TB) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x44, W: []byte{0x89}},
		{Addr: 0x44, R: frame(0x0f4a, 0x61c2)},
		{Addr: 0x44, W: []byte{0xfd}},
		{Addr: 0x44, R: unhex(t, "666693 8000a2")},
	}
}

// answering replaces the answer to one of the transactions.
func answering(t *testing.T, at int, answer []byte) func(*testing.T) sensors.Hardware {
	t.Helper()
	ops := conversation(t)
	ops[at].R = answer
	return func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ops) }
}

func TestContract(t *testing.T) {
	const serial, measured = 1, 3
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    conversation(t),
		Faults: []sensortest.Fault{
			{Name: "chip without checksums", Hardware: answering(t, serial, unhex(t, "399f399f399f")), Want: sensors.ErrChecksum},
			{Name: "temperature damaged", Hardware: answering(t, measured, unhex(t, "666692 8000a2")), Want: sensors.ErrChecksum},
			{Name: "humidity damaged", Hardware: answering(t, measured, unhex(t, "666693 8001a2")), Want: sensors.ErrChecksum},
			{Name: "all 0x00", Hardware: answering(t, measured, make([]byte, 6)), Want: sensors.ErrChecksum},
			{Name: "noughts with right checksums", Hardware: answering(t, measured, unhex(t, "000081 000081"))},
			{Name: "ones with right checksums", Hardware: answering(t, measured, unhex(t, "ffffac ffffac"))},
			{Name: "too cold", Hardware: answering(t, measured, frame(0x0740, 0x8000))},
			{Name: "too hot", Hardware: answering(t, measured, frame(0xf8c0, 0x8000))},
			{Name: "humidity at the low end", Hardware: answering(t, measured, frame(0x6666, 0)), Want: errBroken},
			{Name: "humidity at the high end", Hardware: answering(t, measured, frame(0x6666, 0xffff)), Want: errBroken},
			{Name: "static discharge", Hardware: answering(t, measured, frame(0x8000, 0x8000)), Want: errBroken},
			{Name: "static discharge, other value", Hardware: answering(t, measured, frame(0x8001, 0x8000)), Want: errBroken},
			{
				Name:      "another address",
				Hardware:  func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, conversation(t)) },
				Configure: func(c sensors.Config) { c.(*Config).Address = 0x45 },
			},
			{
				Name:      "a repeatability that Validate refuses",
				Hardware:  func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, conversation(t)) },
				Configure: func(c sensors.Config) { c.(*Config).Repeatability = "best" },
			},
			{
				Name:     "no bus",
				Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) },
				Want:     sensors.ErrAbsent,
			},
		},
	})
}

// Each repeatability has its command and its time, and the answer is not asked for before.
func TestRepeatability(t *testing.T) {
	for _, tt := range []struct {
		name string
		code byte
		wait time.Duration
	}{
		{"high", 0xfd, 10 * time.Millisecond},
		{"medium", 0xf6, 5 * time.Millisecond},
		{"low", 0xe0, 2 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			ops := conversation(t)
			ops[2].W = []byte{tt.code}
			c := Driver().New().(*Config)
			c.Repeatability = tt.name
			s, err := c.Open(t.Context(), sensortest.Playback(t, ops))
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			got, err := s.Read(t.Context())
			if err != nil || got[0].Value != 25 || time.Since(start) != tt.wait {
				t.Errorf("%s: %v, %v after %s; want 25 °C after %s", tt.name, got, err, time.Since(start), tt.wait)
			}
		})
	}
}

// A reading that was broken off leaves nothing behind: the next one starts anew.
func TestReadAfterADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := conversation(t)
		s, err := Driver().New().Open(t.Context(), sensortest.Playback(t, slices.Concat(ops[:3], ops[2:])))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 5*time.Millisecond {
			t.Errorf("Read: %v after %s, want ErrTimeout after 5 ms", err, time.Since(start))
		}
		if got, err := s.Read(t.Context()); err != nil || got[0].Value != 25 {
			t.Errorf("Read: %v, %v; want 25 °C", got, err)
		}
		if s.String() != "sht4x@i2c1:0x44" {
			t.Errorf("String: %s", s)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change    func(*Config)
		key, want string
	}{
		{func(c *Config) { c.Address = 0x43 }, "address", "0x43"},
		{func(c *Config) { c.Address = 0x47 }, "address", "0x44, 0x45 or 0x46"},
		{func(c *Config) { c.Address = -1 }, "address", "0x44, 0x45 or 0x46"},
		{func(c *Config) { c.Bus = "one" }, "bus", `"one"`},
		{func(c *Config) { c.Repeatability = "" }, "repeatability", `want "high", "medium" or "low"`},
		{func(c *Config) { c.Repeatability = "High" }, "repeatability", `got "High"`},
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
	for _, s := range []string{"666693 8000a2", "5d2f8e 7a3cec", "2e8ba0 c0002b", "000081 000081", "ffffac ffffac", "666692 8000a2"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < frameSize {
			return
		}
		damaged := crc8.Sum(b[0:2]) != b[2] || crc8.Sum(b[3:5]) != b[5]
		samples, err := decode(b[:frameSize])
		if (err == nil) != (len(samples) == 2) || errors.Is(err, sensors.ErrChecksum) != damaged {
			t.Fatalf("samples %v beside error %v; damaged: %t", samples, err, damaged)
		}
		limits := [][2]float64{{-40, 125}, {0, 100}}
		for i, s := range samples {
			if !(s.Value >= limits[i][0] && s.Value <= limits[i][1]) {
				t.Errorf("%s = %g", s.Name, s.Value)
			}
		}
	})
}
