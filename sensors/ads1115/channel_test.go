package ads1115

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		volts float64
		reg   uint16
		want  float64
	}{
		{4.096, 0x4e20, 2.5},
		{4.096, 0x0000, 0},
		{4.096, 0xfffe, -0.00025}, // an offset, kept
		{4.096, 0x7fef, 4.093875},
		{4.096, 0x8001, -4.095875},
		{6.144, 0x4000, 3.072},
		{2.048, 0x0001, 0.0000625},
		{0.256, 0xff38, -0.0015625},
		{0.256, 0x0001, 0.0000078125},
		{4.096, 0x4e10, 2.498}, // an ADS1015: steps of 2 mV
	} {
		if got, err := (Channel{RangeVolts: tt.volts}).decode(tt.reg); err != nil || got != tt.want {
			t.Errorf("0x%04x at %g V: %v, %v; want %v", tt.reg, tt.volts, got, err, tt.want)
		}
	}
	for _, reg := range []uint16{0x7fff, 0x7ff0, 0x8000} {
		if got, err := (Channel{RangeVolts: 4.096}).decode(reg); !errors.Is(err, errClipped) {
			t.Errorf("0x%04x: %v, %v; want errClipped", reg, got, err)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		input string
		volts float64
		rate  int
		want  uint16
	}{
		{"A0", 4.096, 128, 0xc383},
		{"A1", 4.096, 128, 0xd383},
		{"A2", 4.096, 128, 0xe383},
		{"A3", 4.096, 128, 0xf383},
		{"A0", 2.048, 128, 0xc583},
		{"A3", 2.048, 128, 0xf583},
		{"A0-A1", 4.096, 128, 0x8383},
		{"A0-A1", 2.048, 128, 0x8583}, // as after a reset, but for the polarity
		{"A0", 4.096, 8, 0xc303},
		{"A2-A3", 0.256, 860, 0xbbe3},
		{"A1-A3", 6.144, 8, 0xa103},
	} {
		got := Channel{Input: tt.input, RangeVolts: tt.volts}.settings(tt.rate) | start
		if want := tt.want | polarity; got != want {
			t.Errorf("%+v: 0x%04x, want 0x%04x", tt, got, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	want := []Channel{
		{"A0", "a0_volts", 4.096},
		{"A1", "a1_volts", 4.096},
		{"A2", "a2_volts", 4.096},
		{"A3", "a3_volts", 4.096},
	}
	if diff := cmp.Diff(want, withDefaults(nil)); diff != "" {
		t.Errorf("no channels (-want +got):\n%s", diff)
	}
	given := []Channel{{Input: "A0-A3"}}
	if got := withDefaults(given); got[0] != (Channel{"A0-A3", "a0_a3_volts", 4.096}) || given[0] != (Channel{Input: "A0-A3"}) {
		t.Errorf("%+v of %+v", got, given)
	}
}

func TestValidate(t *testing.T) {
	channels := func(cs ...Channel) func(*Config) { return func(c *Config) { c.Channels = cs } }
	for _, tt := range []struct {
		change func(*Config)
		keys   []string
	}{
		{func(c *Config) { c.Address = 0x47 }, []string{"address"}},
		{func(c *Config) { c.Address = 0x4c }, []string{"address"}},
		{func(c *Config) { c.Bus = "one" }, []string{"bus"}},
		{func(c *Config) { c.SamplesPerSecond = 100 }, []string{"samples_per_second"}},
		{func(c *Config) { c.SamplesPerSecond = 0 }, []string{"samples_per_second"}},
		{channels(Channel{}), []string{"channel[0].input"}},
		{channels(Channel{Input: "a0"}), []string{"channel[0].input"}},
		{channels(Channel{Input: "A1-A0"}), []string{"channel[0].input"}},
		{channels(Channel{Input: "A0"}, Channel{Input: "A0", Name: "b_volts"}), []string{"channel[1].input"}},
		{channels(Channel{Input: "A0", Name: "level"}), []string{"channel[0].name"}},
		{channels(Channel{Input: "A0", Name: "Level_volts"}), []string{"channel[0].name"}},
		{channels(Channel{Input: "A0", Name: "_volts"}), []string{"channel[0].name"}},
		{channels(Channel{Input: "A0", Name: "a_volts"}, Channel{Input: "A1", Name: "a_volts"}), []string{"channel[1].name"}},
		{channels(Channel{Input: "A0"}, Channel{Input: "A1", Name: "a0_volts"}), []string{"channel[1].name"}},
		{channels(Channel{Input: "A0", RangeVolts: 5}), []string{"channel[0].range_volts"}},
		{channels(Channel{Input: "A0", RangeVolts: -4.096}), []string{"channel[0].range_volts"}},
		{channels(Channel{Input: "A0", RangeVolts: math.NaN()}), []string{"channel[0].range_volts"}},
		{channels(Channel{Input: "A4", RangeVolts: 5}), []string{"channel[0].input", "channel[0].range_volts"}},
		{channels(Channel{Input: "A0"}, Channel{Input: "A0-A1"}, Channel{Input: "A2", Name: "tank_2_volts", RangeVolts: 6.144}), nil},
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

// Whatever the register holds, a channel gives volts within its range or an error.
func FuzzDecode(f *testing.F) {
	f.Add(uint16(0x4e20), uint8(1))
	f.Add(uint16(0x7fef), uint8(0))
	f.Add(uint16(0x8000), uint8(5))
	f.Fuzz(func(t *testing.T, reg uint16, pga uint8) {
		if int(pga) >= len(ranges()) {
			return
		}
		most := ranges()[pga]
		got, err := Channel{Input: "A0", RangeVolts: most}.decode(reg)
		if clipped := reg >= 0x7ff0 && reg <= 0x8000; clipped != (err != nil) {
			t.Fatalf("0x%04x: %v, %v", reg, got, err)
		}
		if !(math.Abs(got) < most) {
			t.Errorf("0x%04x: %g V of ±%g", reg, got, most)
		}
	})
}
