package ads1115

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

func op(w []byte, answer ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x48, W: w, R: answer} }

// two is a configuration of two channels.
func two(c sensors.Config) {
	c.(*Config).Channels = []Channel{{Input: "A0", Name: "level_volts"}, {Input: "A2-A3", RangeVolts: 0.256}}
}

// conversation is what goes over the bus in Open and in one Read of two.
func conversation() (open, read []i2ctest.IO) {
	open = []i2ctest.IO{
		op([]byte{2}, 0x80, 0x00),
		op([]byte{3}, 0x7f, 0xff),
	}
	read = []i2ctest.IO{
		open[0], open[1],
		op([]byte{1}, 0x85, 0x83), // as it was reset
		op([]byte{1, 0xc3, 0x8b}),
		op([]byte{1}, 0x43, 0x8b), // still converting
		op([]byte{1}, 0xc3, 0x8b),
		op([]byte{0}, 0x4e, 0x20),
		op([]byte{1, 0xbb, 0x8b}),
		op([]byte{1}, 0xbb, 0x8b),
		op([]byte{0}, 0xff, 0x38),
	}
	return open, read
}

// answering replaces the answer to one of the transactions.
func answering(at int, answer ...byte) func(*testing.T) sensors.Hardware {
	ops := slices.Concat(conversation())
	ops[at].R = answer
	return func(t *testing.T) sensors.Hardware { return sensortest.Playback(t, ops) }
}

func TestContract(t *testing.T) {
	all := slices.Concat(conversation())
	sensortest.Run(t, sensortest.Case{
		Driver:    Driver(),
		Configure: two,
		Ops:       all,
		Faults: []sensortest.Fault{
			{Name: "another chip's low threshold", Hardware: answering(0, 0x4b, 0x00), Want: sensors.ErrAbsent},
			{Name: "another chip's high threshold", Hardware: answering(1, 0x50, 0x00), Want: sensors.ErrAbsent},
			{Name: "exchanged for another", Hardware: answering(3, 0x50, 0x00), Want: sensors.ErrAbsent},
			{Name: "power lost while it converts", Hardware: answering(7, 0x85, 0x83), Want: errChanged},
			{Name: "another program's channel", Hardware: answering(10, 0xc3, 0x8b), Want: errChanged},
			{Name: "above its range", Hardware: answering(8, 0x7f, 0xff), Want: errClipped},
			{Name: "above the range of an ADS1015", Hardware: answering(8, 0x7f, 0xf0), Want: errClipped},
			{Name: "below its range", Hardware: answering(11, 0x80, 0x00), Want: errClipped},
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
}

// open opens the chip on the other end of ops.
func open(t *testing.T, configure func(sensors.Config), ops ...[]i2ctest.IO) sensors.Sensor {
	t.Helper()
	c := Driver().New()
	configure(c)
	s, err := c.Open(t.Context(), sensortest.Playback(t, slices.Concat(ops...)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, read := conversation()
		s := open(t, two, start, read, read)
		want := []sensors.Sample{{Name: "level_volts", Value: 2.5}, {Name: "a2_a3_volts", Value: -0.0015625}}
		for range 2 {
			got, err := s.Read(t.Context())
			if diff := cmp.Diff(want, got); diff != "" || err != nil || s.String() != "ads1115@i2c1:0x48" {
				t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
			}
		}
	})
}

func TestWithoutChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, read := conversation()
		ops := slices.Clone(read[:3])
		for _, high := range []byte{0xc3, 0xd3, 0xe3, 0xf3} {
			ops = append(ops, op([]byte{1, high, 0x8b}), op([]byte{1}, high, 0x8b), op([]byte{0}, high-0x80, 0))
		}
		s := open(t, func(sensors.Config) {}, start, ops)
		got, err := s.Read(t.Context())
		want := []sensors.Sample{
			{Name: "a0_volts", Value: 2.144}, {Name: "a1_volts", Value: 2.656}, {Name: "a2_volts", Value: 3.168}, {Name: "a3_volts", Value: 3.68},
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// A conversion that was left behind would take the start of the next one.
func TestConversionLeftBehind(t *testing.T) {
	start, read := conversation()
	for name, left := range map[string]i2ctest.IO{
		"broken off": op([]byte{1}, 0x3b, 0x8b), "continuous mode of another program": op([]byte{1}, 0x42, 0x83),
	} {
		synctest.Test(t, func(t *testing.T) {
			busy := []i2ctest.IO{left, op([]byte{1, 0x43, 0x8b}), op([]byte{1}, 0x43, 0x8b), op([]byte{1}, 0xc3, 0x8b)}
			s := open(t, two, start, read[:2], busy, read[3:])
			if got, err := s.Read(t.Context()); err != nil || got[0].Value != 2.5 {
				t.Errorf("%s: %v, %v; want 2.5 V", name, got, err)
			}
		})
	}
	for at := range 3 { // no acknowledge at each step of settle
		synctest.Test(t, func(t *testing.T) {
			busy := []i2ctest.IO{op([]byte{1}, 0x3b, 0x8b), op([]byte{1, 0x43, 0x8b}), op([]byte{1}, 0xc3, 0x8b)}
			s := open(t, two, start, read[:2], busy[:at], []i2ctest.IO{{Addr: 0x77}})
			if got, err := s.Read(t.Context()); err == nil || got != nil {
				t.Errorf("conversation that ends after %d: %v, %v", at, got, err)
			}
		})
	}
}

func TestChipThatStaysBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, read := conversation()
		s := open(t, two, start, read[:4], slices.Repeat(read[4:5], polls))
		if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("Read: %v, want ErrTimeout", err)
		}
	})
}

func TestDeadlineWhileConverting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, two, slices.Concat(conversation()))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Read(ctx); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != 5*time.Millisecond {
			t.Errorf("Read: %v after %s, want ErrTimeout after 5 ms", err, time.Since(start))
		}
	})
}

func TestTiming(t *testing.T) {
	want := []time.Duration{138938, 69494, 34772, 17411, 8730, 4494, 2389, 1341} // µs: a rate that is 10 % slow, and 50 µs
	for i, rate := range rates() {
		if got := conversionTime(rate).Truncate(time.Microsecond); got != want[i]*time.Microsecond {
			t.Errorf("rate %d: %s, want %s", rate, got, want[i]*time.Microsecond)
		}
	}
}
