package sht3x

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
	"golang.org/x/sys/unix"
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

// frame is an answer with right checksums.
func frame(words ...uint16) []byte {
	var out []byte
	for _, w := range words {
		b := []byte{byte(w >> 8), byte(w)}
		out = append(append(out, b...), crc8.Sum(b))
	}
	return out
}

// decode is what Read makes of an answer.
func decode(b []byte) ([]sensors.Sample, error) {
	words, err := parse(b)
	if err != nil {
		return nil, err
	}
	return scale(words[0], words[1])
}

func TestChecksum(t *testing.T) {
	for in, want := range map[string]byte{"beef": 0x92, "0000": 0x81, "ffff": 0xac} { // the first is the datasheet's, table 20
		if got := crc8.Sum(unhex(t, in)); got != want {
			t.Errorf("checksum of %s: 0x%02x, want 0x%02x", in, got, want)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		name              string
		frame             []byte
		celsius, humidity float64
	}{
		{"room", unhex(t, "666693 8000a2"), 25, 50},
		{"cool", unhex(t, "5d2f8e 7a3cec"), 18.7, 47.75},
		{"frost", unhex(t, "2e8ba0 c0002b"), -13.18, 75},
		{"coldest, driest", frame(0x0751, 0), -40, 0},
		{"hottest, dew", frame(0xf8ae, 0xffff), 125, 100},
	} {
		got, err := decode(tt.frame)
		want := []sensors.Sample{{Name: "temperature_celsius", Value: tt.celsius}, {Name: "humidity_percent", Value: tt.humidity}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

// The formulas at full resolution, before rounding.
func TestFormulas(t *testing.T) {
	for _, tt := range []struct {
		raw              uint16
		celsius, percent float64
	}{
		{0, -45, 0},
		{0x2e8b, -13.1830, 18.1811},
		{0x5d2f, 18.7007, 36.4004},
		{0x7a3c, 38.5599, 47.7485},
		{0x8000, 42.5013, 50.0008},
		{0xffff, 130, 100},
	} {
		if c, p := celsius(tt.raw), percent(tt.raw); math.Abs(c-tt.celsius) > 5e-5 || math.Abs(p-tt.percent) > 5e-5 {
			t.Errorf("0x%04x: %.4f °C, %.4f %%; want %.4f, %.4f", tt.raw, c, p, tt.celsius, tt.percent)
		}
	}
}

func write(b ...byte) i2ctest.IO  { return i2ctest.IO{Addr: 0x44, W: b} }
func answer(b ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x44, R: b} }

// conversation is what goes over the bus in Open and in one Read.
func conversation(t testing.TB) (setUp, read []i2ctest.IO) {
	setUp = []i2ctest.IO{
		write(0x30, 0x93),
		write(0x36, 0x82),
		answer(frame(0x0f4a, 0x61c2)...),
		write(0x30, 0xa2),
		write(0x30, 0x41),
	}
	read = []i2ctest.IO{
		write(0xf3, 0x2d),
		answer(frame(0x8c00)...), // alerts are pending, which nobody here asked for
		write(0x24, 0x00),
		answer(unhex(t, "666693 8000a2")...),
	}
	return setUp, read
}

// playing returns a machine that plays ops anew each time, the answer to one of the transactions replaced.
func playing(ops []i2ctest.IO, at int, b []byte) func(*testing.T) sensors.Hardware {
	ops = slices.Clone(ops)
	ops[at].R = b
	return func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ops) }
}

func TestContract(t *testing.T) {
	ops := slices.Concat(conversation(t))
	const serial, status, measured = 2, 6, 8
	working := playing(ops, serial, ops[serial].R)
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Ops:    ops,
		Faults: []sensortest.Fault{
			{Name: "serial number damaged", Hardware: playing(ops, serial, unhex(t, "0f4a00 61c200")), Want: sensors.ErrChecksum},
			{Name: "chip without checksums", Hardware: playing(ops, serial, unhex(t, "399f399f399f")), Want: sensors.ErrChecksum},
			{Name: "status damaged", Hardware: playing(ops, status, unhex(t, "800000")), Want: sensors.ErrChecksum},
			{Name: "status all 0x00", Hardware: playing(ops, status, unhex(t, "000000")), Want: sensors.ErrChecksum},
			{Name: "temperature damaged", Hardware: playing(ops, measured, unhex(t, "666692 8000a2")), Want: sensors.ErrChecksum},
			{Name: "humidity damaged", Hardware: playing(ops, measured, unhex(t, "666693 8001a2")), Want: sensors.ErrChecksum},
			{Name: "noughts with right checksums", Hardware: playing(ops, measured, unhex(t, "000081 000081"))},
			{Name: "ones with right checksums", Hardware: playing(ops, measured, unhex(t, "ffffac ffffac"))},
			{Name: "too cold", Hardware: playing(ops, measured, frame(0x0740, 0x8000))},
			{Name: "too hot", Hardware: playing(ops, measured, frame(0xf8c0, 0x8000))},
			{Name: "another address", Hardware: working, Configure: func(c sensors.Config) { c.(*Config).Address = 0x45 }},
			{
				Name: "a repeatability that Validate refuses", Hardware: working,
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

// open opens the chip on the other end of ops.
func open(t *testing.T, hw sensors.Hardware) sensors.Sensor {
	t.Helper()
	s, err := Driver().New().Open(t.Context(), hw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each repeatability has its command and its time, and the answer is not asked for before.
func TestRepeatability(t *testing.T) {
	for _, tt := range []struct {
		name string
		code byte
		wait time.Duration
	}{
		{"high", 0x00, 16 * time.Millisecond},
		{"medium", 0x0b, 7 * time.Millisecond},
		{"low", 0x16, 5 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			setUp, read := conversation(t)
			read[2] = write(0x24, tt.code)
			c := Driver().New().(*Config)
			c.Repeatability = tt.name
			s, err := c.Open(t.Context(), sensortest.Playback(t, slices.Concat(setUp, read)))
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			got, err := s.Read(t.Context())
			if err != nil || got[0].Value != 25 || time.Since(start) != pause+tt.wait {
				t.Errorf("%s: %v, %v after %s; want 25 °C after %s", tt.name, got, err, time.Since(start), pause+tt.wait)
			}
		})
	}
}

// A chip that lost its power is set up anew before it is believed.
func TestResetChipIsSetUpAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation(t)
		lost := []i2ctest.IO{read[0], answer(frame(0x8010)...)}
		s := open(t, sensortest.Playback(t, slices.Concat(setUp, read, lost, setUp, read[2:], read)))
		for range 3 {
			if got, err := s.Read(t.Context()); err != nil || got[0].Value != 25 {
				t.Errorf("Read: %v, %v; want 25 °C", got, err)
			}
		}
	})
}

// A chip that somebody heats gives no values; with its heater off it does again.
func TestHeatedChip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation(t)
		heated := []i2ctest.IO{read[0], answer(frame(0x2000)...)}
		s := open(t, sensortest.Playback(t, slices.Concat(setUp, heated, setUp, read)))
		if got, err := s.Read(t.Context()); !errors.Is(err, errHeated) || got != nil {
			t.Errorf("Read: %v, %v; want errHeated", got, err)
		}
		if got, err := s.Read(t.Context()); err != nil || got[0].Value != 25 {
			t.Errorf("Read: %v, %v; want 25 °C", got, err)
		}
	})
}

// refusing is a bus on which one command is not acknowledged.
type refusing struct {
	i2ctest.Playback
	command string
}

func (b *refusing) Tx(addr uint16, w, r []byte) error {
	if string(w) == b.command {
		return unix.EREMOTEIO
	}
	return b.Playback.Tx(addr, w, r)
}

func TestSerialNumberByTheOtherCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation(t)
		setUp[1] = write(0x37, 0x80)
		bus := &refusing{command: "\x36\x82", Playback: i2ctest.Playback{Ops: slices.Concat(setUp, read), DontPanic: true}}
		s := open(t, &sensortest.Machine{Bus: bus, Dir: t.TempDir()})
		if got, err := s.Read(t.Context()); err != nil || got[0].Value != 25 {
			t.Errorf("%s: Read: %v, %v; want 25 °C", s, got, err)
		}
	})
}

// A reading that was broken off leaves nothing behind: the next one starts anew.
func TestReadAfterADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setUp, read := conversation(t)
		s := open(t, sensortest.Playback(t, slices.Concat(setUp, read[:3], read)))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 5*time.Millisecond {
			t.Errorf("Read: %v after %s, want ErrTimeout after 5 ms", err, time.Since(start))
		}
		if got, err := s.Read(t.Context()); err != nil || got[0].Value != 25 {
			t.Errorf("Read: %v, %v; want 25 °C", got, err)
		}
		if s.String() != "sht3x@i2c1:0x44" {
			t.Errorf("String: %s", s)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change    func(*Config)
		key, want string
	}{
		{func(c *Config) { c.Address = 0x46 }, "address", "want 0x44 or 0x45, got 0x46"},
		{func(c *Config) { c.Address = -1 }, "address", "want 0x44 or 0x45"},
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
		if len(b) != 2*wordSize {
			return
		}
		damaged := crc8.Sum(b[0:2]) != b[2] || crc8.Sum(b[3:5]) != b[5]
		samples, err := decode(b)
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
