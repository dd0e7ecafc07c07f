package mcp3008

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/spi"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// answer is what the chip sends for a value, bit by bit as in figure 5-2; before the value the line floats.
func answer(value uint16) []byte {
	line := strings.Repeat("1", 13) + "0" + fmt.Sprintf("%010b", value)
	for i := 1; i <= 9; i++ {
		line += fmt.Sprint(value >> i & 1)
	}
	line += "0000000"
	b := make([]byte, frameSize)
	for i, bit := range line {
		b[i/8] |= byte(bit-'0') << (7 - i%8)
	}
	return b
}

func TestDecode(t *testing.T) {
	got, err := decode([frameSize]byte{0xff, 0xfa, 0x5c, 0x74, 0x80})
	if volts := (&device{vref: 3.3}).volts(got); err != nil || got != 604 || volts != 1.94648 {
		t.Errorf("%d, %g V, %v; want 604, 1.94648 V", got, volts, err)
	}
	for value := range uint16(steps) {
		if got, err := decode([frameSize]byte(answer(value))); err != nil || got != value {
			t.Errorf("%d: %d, %v", value, got, err)
		}
	}
}

// Any one bit that is damaged on the way is found, except the value's lowest.
func TestDamage(t *testing.T) {
	for _, value := range []uint16{0, 1, 604, 1023} {
		for i := 13; i < 8*frameSize; i++ {
			b := [frameSize]byte(answer(value))
			b[i/8] ^= 1 << (7 - i%8)
			if i == 23 {
				continue // the lowest bit is sent once
			}
			want := sensors.ErrChecksum
			if i == 13 {
				want = sensors.ErrAbsent
			}
			if got, err := decode(b); !errors.Is(err, want) {
				t.Errorf("%d with bit %d turned over: %d, %v; want %v", value, i, got, err, want)
			}
		}
	}
}

func TestRequests(t *testing.T) {
	for input, want := range map[string]byte{
		"CH0": 0x80, "CH1": 0x90, "CH2": 0xa0, "CH3": 0xb0, "CH4": 0xc0, "CH5": 0xd0, "CH6": 0xe0, "CH7": 0xf0,
		"CH0-CH1": 0x00, "CH1-CH0": 0x10, "CH2-CH3": 0x20, "CH3-CH2": 0x30, "CH4-CH5": 0x40, "CH5-CH4": 0x50, "CH6-CH7": 0x60, "CH7-CH6": 0x70,
	} {
		if got := request(input); got != [frameSize]byte{1, want} {
			t.Errorf("%s: % x, want 01 %02x", input, got, want)
		}
	}
}

// conversions are transfers that convert the inputs with those codes and have those values.
func conversions(pairs ...uint16) []conntest.IO {
	var ops []conntest.IO
	for i := 0; i < len(pairs); i += 2 {
		ops = append(ops, conntest.IO{W: []byte{1, byte(pairs[i]), 0, 0, 0}, R: answer(pairs[i+1])})
	}
	return ops
}

// conversation is what goes over SPI in Open, where CH0 is at ground, and in one Read.
func conversation() []conntest.IO {
	return conversions(0x80, 0, 0x90, 1, 0x80, 0, 0x90, 604, 0xa0, 3, 0xb0, 4, 0xc0, 5, 0xd0, 6, 0xe0, 7, 0xf0, 1023)
}

// playing is a machine that plays those operations.
func playing(ops []conntest.IO) func(*testing.T) sensors.Hardware {
	return func(t *testing.T) sensors.Hardware { return sensortest.PlaybackSPI(t, spi.Mode0, ops) }
}

func TestContract(t *testing.T) {
	none := conversions(0x80, 0, 0x90, 0, 0xa0, 0, 0xb0, 0, 0xc0, 0, 0xd0, 0, 0xe0, 0, 0xf0, 0)
	broken := func(at int, answer ...byte) func(*testing.T) sensors.Hardware {
		ops := conversation()
		ops[at].R = answer
		return playing(ops)
	}
	sensortest.Run(t, sensortest.Case{
		Driver:  Driver(),
		SPIOps:  conversation(),
		SPIMode: spi.Mode0,
		Faults: []sensortest.Fault{
			{Name: "no chip", Hardware: playing(none), Want: sensors.ErrAbsent},
			{Name: "chip gone", Hardware: playing(append(append(conversions(0x80, 5), none...), none...)), Want: sensors.ErrAbsent},
			{Name: "null bit set", Hardware: broken(0, 0xff, 0x04, 0x00, 0x00, 0x00), Want: sensors.ErrAbsent},
			{Name: "no value backwards", Hardware: broken(3, 0xff, 0xfa, 0x5c, 0x00, 0x00), Want: sensors.ErrChecksum},
			{Name: "chip with 12 bits", Hardware: broken(0, 0xff, 0xe1, 0x23, 0x48, 0x92), Want: sensors.ErrChecksum},
		},
	})
}

func TestChannels(t *testing.T) {
	c := Driver().New().(*Config)
	c.VrefVolts = 4.096
	c.Channels = []Channel{{Input: "CH7", Name: "inlet_volts"}, {Input: "CH3-CH2"}}
	s, err := c.Open(t.Context(), playing(conversions(0x80, 9, 0xf0, 512, 0x30, 1023))(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(t.Context())
	want := []sensors.Sample{{Name: "inlet_volts", Value: 2.048}, {Name: "ch3_ch2_volts", Value: 4.092}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || !strings.HasPrefix(s.String(), "mcp3008@") {
		t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
	}
}

// When one of the inputs is not at 0 V, none beside them is looked at.
func TestSomeZeroVolts(t *testing.T) {
	c := Driver().New().(*Config)
	c.Channels = []Channel{{Input: "CH0"}, {Input: "CH1"}}
	s, err := c.Open(t.Context(), playing(conversions(0x80, 9, 0x80, 512, 0x90, 0))(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(t.Context())
	want := []sensors.Sample{{Name: "ch0_volts", Value: 1.65}, {Name: "ch1_volts", Value: 0}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// One input at 0 V is a value when another shows that the chip is there, or when the configuration says so.
func TestZeroVolts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		allZero bool
		ops     []conntest.IO
	}{
		{"another input is not", false, conversions(0x80, 7, 0x80, 0, 0x80, 0, 0x90, 0, 0xa0, 1)},
		{"allowed", true, conversions(0x80, 0, 0x80, 0, 0x80, 0)},
	} {
		c := Driver().New().(*Config)
		c.AllZero = tt.allZero
		c.Channels = []Channel{{Input: "CH0"}}
		s, err := c.Open(t.Context(), playing(tt.ops)(t))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got, err := s.Read(t.Context())
		if diff := cmp.Diff([]sensors.Sample{{Name: "ch0_volts", Value: 0}}, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change    func(*Config)
		key, want string
	}{
		{func(c *Config) { c.Port = "x" }, "port", `"x"`},
		{func(c *Config) { c.VrefVolts = 0 }, "vref_volts", "0.25..5.5"},
		{func(c *Config) { c.VrefVolts = 3300 }, "vref_volts", "3300"},
		{func(c *Config) { c.VrefVolts = math.NaN() }, "vref_volts", "NaN"},
		{func(c *Config) { c.Channels = []Channel{{Input: "CH8"}} }, "channel[0].input", `"CH8"`},
		{func(c *Config) { c.Channels = []Channel{{Input: "CH1-CH2"}} }, "channel[0].input", `"CH1-CH0"`},
		{func(c *Config) { c.Channels = []Channel{{}} }, "channel[0].input", `got ""`},
		{func(c *Config) { c.Channels = []Channel{{Input: "CH1"}, {Input: "CH1", Name: "a_volts"}} }, "channel[1].input", "already"},
		{func(c *Config) { c.Channels = []Channel{{Input: "CH1", Name: "level"}} }, "channel[0].name", "_volts"},
		{func(c *Config) { c.Channels = []Channel{{Input: "CH1"}, {Input: "CH2", Name: "ch1_volts"}} }, "channel[1].name", "another channel"},
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

// Whatever the bytes are, the chip gives one of its steps or an error.
func FuzzDecode(f *testing.F) {
	for _, value := range []uint16{0, 604, 1023} {
		f.Add(answer(value))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < frameSize {
			return
		}
		value, err := decode([frameSize]byte(b))
		if value >= steps || err != nil && value != 0 {
			t.Errorf("% x: %d, %v", b[:frameSize], value, err)
		}
		if err == nil && [3]byte(answer(value)[2:]) != [3]byte(b[2:]) {
			t.Errorf("% x passes for %d", b[:frameSize], value)
		}
	})
}
