package pcf8574

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/physic"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// chip is an expander: pins with a latch, and what is wired to them.
type chip struct {
	pins    int
	latch   int
	pulled  int // pins that something outside pulls to ground
	writes  int
	count   int   // transactions so far
	failAt  int   // the transaction that fails; -1 for none
	stays   bool  // and all after it
	fail    error // what it fails with, half way through what is read
	address uint16
}

func newChip(pins, pulled int) *chip {
	return &chip{pins: pins, latch: 1<<pins - 1, pulled: pulled, failAt: -1, address: 0x20}
}

func (c *chip) String() string { return "chip" }

func (c *chip) SetSpeed(physic.Frequency) error { return errors.New("no speed here") }

func (c *chip) Tx(addr uint16, w, r []byte) error {
	n := c.count
	c.count++
	if c.failAt >= 0 && (n == c.failAt || n > c.failAt && c.stays) {
		copy(r[:len(r)/2], []byte{0xff})
		return c.fail
	}
	switch {
	case addr != c.address:
		return unix.ENXIO
	case len(w) == c.pins/8 && len(r) == 0:
		c.writes++
		c.latch = decode(w)
	case len(w) == 0 && len(r) == c.pins/8:
		copy(r, pinBytes(c.latch&^c.pulled, c.pins))
	default:
		return fmt.Errorf("transaction of %d and %d bytes", len(w), len(r))
	}
	return nil
}

func on(t *testing.T, c *chip) *sensortest.Machine {
	t.Helper()
	return &sensortest.Machine{Bus: c, Dir: t.TempDir()}
}

// broken are chips that fail at each of so many transactions.
func broken(transactions int) []sensortest.Fault {
	var faults []sensortest.Fault
	add := func(name string, at int, stays bool, fail, want error) {
		faults = append(faults, sensortest.Fault{Name: name, Want: want, Hardware: func(t *testing.T) sensors.Hardware {
			c := newChip(8, 2)
			c.failAt, c.stays, c.fail = at, stays, fail
			return on(t, c)
		}})
	}
	for i := range transactions {
		add(fmt.Sprintf("no acknowledge from transaction %d on", i), i, true, unix.ENXIO, sensors.ErrAbsent)
		add(fmt.Sprintf("no acknowledge at transaction %d only", i), i, false, unix.EREMOTEIO, sensors.ErrAbsent)
		add(fmt.Sprintf("bus error at transaction %d", i), i, false, unix.EIO, unix.EIO)
		add(fmt.Sprintf("bus hangs at transaction %d", i), i, false, unix.ETIMEDOUT, sensors.ErrTimeout)
	}
	return faults
}

func TestContract(t *testing.T) {
	sensortest.Run(t, sensortest.Case{
		Driver:   Driver(),
		Hardware: func(t *testing.T) sensors.Hardware { return on(t, newChip(8, 0x02)) },
		Faults: append(broken(2),
			sensortest.Fault{
				Name:      "another address",
				Hardware:  func(t *testing.T) sensors.Hardware { return on(t, newChip(8, 0)) },
				Configure: func(c sensors.Config) { c.(*Config).Address = 0x38 },
				Want:      sensors.ErrAbsent,
			},
			sensortest.Fault{
				Name:     "no bus",
				Hardware: func(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) },
				Want:     sensors.ErrAbsent,
			},
			sensortest.Fault{Name: "the kernel has it", Hardware: bound}),
	})
}

func TestContractWithLatch(t *testing.T) {
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(),
		Configure: func(cfg sensors.Config) {
			c, latch := cfg.(*Config), 0x0f
			c.Latch, c.Inputs = &latch, map[string]int{"door": 0}
		},
		Hardware: func(t *testing.T) sensors.Hardware { return on(t, newChip(8, 0x02)) },
		Faults:   broken(4),
	})
}

// bound is a machine on which the kernel's own driver has the chip.
func bound(t *testing.T) sensors.Hardware {
	t.Helper()
	m := on(t, newChip(8, 0))
	dir := filepath.Join(m.Dir, "sys/bus/i2c/devices/1-0020")
	if err := errors.Join(os.MkdirAll(dir, 0o750), os.Symlink("../../drivers/pcf857x", filepath.Join(dir, "driver"))); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRead(t *testing.T) {
	state := func(pairs ...any) []sensors.Sample {
		var all []sensors.Sample
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, sensors.Sample{Name: pairs[i].(string) + "_state", Value: float64(pairs[i+1].(int))})
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		chip   *chip
		change func(*Config)
		device string
		want   []sensors.Sample
	}{
		{
			"all", newChip(8, 0x81), func(*Config) {},
			"pcf8574@i2c1:0x20", state("p0", 0, "p1", 1, "p2", 1, "p3", 1, "p4", 1, "p5", 1, "p6", 1, "p7", 0),
		},
		{
			"named, in the order of the pins", newChip(8, 0x02), func(c *Config) { c.Inputs = map[string]int{"door": 5, "pump": 1, "alarm": 3} },
			"pcf8574@i2c1:0x20", state("pump", 0, "alarm", 1, "door", 1),
		},
		{
			"active low", newChip(8, 0x02), func(c *Config) { c.Inputs, c.ActiveLow = map[string]int{"door": 5, "pump": 1}, true },
			"pcf8574@i2c1:0x20", state("pump", 1, "door", 0),
		},
		{
			"sixteen", newChip(16, 0x4001), func(c *Config) { c.Pins, c.Inputs = 16, map[string]int{"a": 0, "b": 8, "c": 14} },
			"pcf8575@i2c1:0x20", state("a", 0, "b", 1, "c", 0),
		},
	} {
		c := Driver().New().(*Config)
		tt.change(c)
		s, err := c.Open(t.Context(), on(t, tt.chip))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got, err := s.Read(t.Context())
		if diff := gocmp.Diff(tt.want, got); diff != "" || err != nil || s.String() != tt.device {
			t.Errorf("%s: %s: %v (-want +got):\n%s", tt.name, s, err, diff)
		}
	}
}

// Other pins of the chip may be outputs of another program, also ones that are high and that something pulls to ground.
func TestOutputsAreNotDisturbed(t *testing.T) {
	on1 := newChip(8, 0x42)
	on1.latch = 0x6f
	c := Driver().New().(*Config)
	c.Inputs = map[string]int{"door": 0}
	s, err := c.Open(t.Context(), on(t, on1))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.Read(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := s.Halt(); err != nil || on1.writes != 0 || on1.latch != 0x6f {
		t.Errorf("Halt: %v; %d writes, the latch is 0x%02x", err, on1.writes, on1.latch)
	}
}

// With a latch of its own, the chip gets it back after a loss of power, whatever the pins read.
func TestLatch(t *testing.T) {
	for pins, latch := range map[int]int{8: 0x6f, 16: 0x7f01} {
		chip := newChip(pins, 0x42)
		c := Driver().New().(*Config)
		c.Pins, c.Latch, c.Inputs = pins, &latch, map[string]int{"door": 0}
		s, err := c.Open(t.Context(), on(t, chip))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			chip.latch = 1<<pins - 1
			if got, err := s.Read(t.Context()); err != nil || got[0].Value != 1 || chip.latch != latch {
				t.Errorf("%v, %v; the latch is 0x%02x, want 0x%02x", got, err, chip.latch, latch)
			}
		}
	}
}

// Sensors may share a chip unless one writes a latch: another that reads meanwhile would see it change.
func TestPlace(t *testing.T) {
	c := Config{Bus: "1", Address: 0x21, Pins: 8}
	if want := (sensors.Place{I2C: "1", Address: 0x21, Shared: true}); c.Place() != want {
		t.Errorf("got %+v, want %+v", c.Place(), want)
	}
	latch := 0xff
	c.Latch = &latch
	if want := (sensors.Place{I2C: "1", Address: 0x21}); c.Place() != want {
		t.Errorf("got %+v, want %+v", c.Place(), want)
	}
}

func TestValidate(t *testing.T) {
	latch := func(n int) *int { return &n }
	in := func(name string, pin int) func(*Config) {
		return func(c *Config) { c.Inputs = map[string]int{name: pin} }
	}
	for _, tt := range []struct {
		change    func(*Config)
		key, want string
	}{
		{func(c *Config) { c.Bus = "one" }, "bus", `"one"`},
		{func(c *Config) { c.Address = 0x28 }, "address", "0x28"},
		{func(c *Config) { c.Address = 0x40 }, "address", "0x20 to 0x27"},
		{func(c *Config) { c.Address = -1 }, "address", "0x20 to 0x27"},
		{func(c *Config) { c.Address, c.Pins = 0x38, 16 }, "address", "PCF8575"},
		{func(c *Config) { c.Pins = 4 }, "pins", "8 or"},
		{in("Door", 0), "inputs.Door", "lower case"},
		{in("door_state", 0), "inputs.door_state", "leave _state out"},
		{in("door", 8), "inputs.door", "0 to 7"},
		{in("door", -1), "inputs.door", "got -1"},
		{func(c *Config) { c.Inputs = map[string]int{"a": 3, "b": 3} }, "inputs.b", `"a" already`},
		{func(c *Config) { c.Latch = latch(256) }, "latch", "0xff"},
		{func(c *Config) { c.Latch = latch(-1) }, "latch", "0xff"},
		{func(c *Config) { c.Latch = latch(0xef) }, "latch", "bit 4"},
		{func(c *Config) { c.Latch, c.Inputs = latch(0xef), map[string]int{"door": 4} }, "latch", "bit 4"},
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

// Each pin keeps its place, there and back.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x6f})
	f.Add([]byte{0x01, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 1 && len(b) != 2 {
			return
		}
		bits := decode(b)
		for pin := range 8 * len(b) {
			if bits>>pin&1 != int(b[pin/8]>>(pin%8)&1) {
				t.Errorf("% x: pin %d", b, pin)
			}
		}
		if got := pinBytes(bits, 8*len(b)); string(got) != string(b) {
			t.Errorf("% x becomes % x", b, got)
		}
	})
}
