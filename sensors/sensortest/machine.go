package sensortest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"iotagent/sensors"
)

// Machine is a sensors.Hardware for tests.
type Machine struct {
	sensors.Shelf

	// Bus is every I²C bus of this machine; nil when it has none.
	Bus i2c.Bus
	// Port is every SPI port of this machine; nil when it has none.
	Port spi.Port
	// Lines are its GPIO inputs by the name that a driver asks for.
	Lines map[string]sensors.Input
	// State is where drivers may keep files; "" for nowhere.
	State string
	// Dir holds proc, sys and dev.
	Dir string
}

var _ sensors.Hardware = (*Machine)(nil)

// I2C returns the machine's bus.
func (m *Machine) I2C(name string) (i2c.Bus, error) {
	if m.Bus == nil {
		return nil, fmt.Errorf("i2c bus %q: %w", name, sensors.ErrAbsent)
	}
	return m.Bus, nil
}

// SPI returns the machine's port.
func (m *Machine) SPI(name string) (spi.Port, error) {
	if m.Port == nil {
		return nil, fmt.Errorf("spi port %q: %w", name, sensors.ErrAbsent)
	}
	return m.Port, nil
}

// Input returns the machine's line of that name.
func (m *Machine) Input(line string, o sensors.InputOptions) (sensors.Input, error) {
	l := m.Lines[line]
	if l == nil {
		return nil, fmt.Errorf("gpio line %q: %w", line, sensors.ErrAbsent)
	}
	if fake, ok := l.(*Line); ok {
		fake.take(o)
	}
	return l, nil
}

// StateDir returns State.
func (m *Machine) StateDir() string { return m.State }

// Root returns the directory that holds proc, sys and dev.
func (m *Machine) Root() string { return m.Dir }

// Tree returns a machine without buses whose files are those given, by their path from the root.
func Tree(t *testing.T, files map[string]string) *Machine {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Machine{Dir: root}
}

// Playback returns a machine whose bus plays ops and then acknowledges every write.
func Playback(t *testing.T, ops []i2ctest.IO) *Machine {
	t.Helper()
	return &Machine{Dir: t.TempDir(), Bus: &bus{Playback: i2ctest.Playback{Ops: ops, DontPanic: true}, failAt: -1}}
}

// played reports a conversation that ended early.
func (m *Machine) played(t *testing.T) {
	t.Helper()
	if b, ok := m.Bus.(*bus); ok {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if p, ok := m.Port.(*port); ok {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// bus plays a conversation, and fails in it as a real bus would.
type bus struct {
	i2ctest.Playback
	failAt int   // the transaction that fails, and all after it; -1 for none
	once   bool  // those after it succeed, as if it had
	fail   error // what it fails with; half of the bytes are read before
}

var errBusBroken = errors.New("bus broken")

func (b *bus) String() string { return "playback" }

func (b *bus) SetSpeed(physic.Frequency) error { return errBusBroken }

func (b *bus) Tx(addr uint16, w, r []byte) error {
	if b.failAt >= 0 && b.Count >= b.failAt {
		if b.Count < len(b.Ops) {
			copy(r[:len(r)/2], b.Ops[b.Count].R)
		}
		if b.once {
			b.Count++
			b.failAt = -1
		}
		return b.fail
	}
	if b.Count == len(b.Ops) && len(r) == 0 {
		return nil // what Halt writes is the driver's business
	}
	return b.Playback.Tx(addr, w, r)
}

// playback is Case.Hardware for a case that has Ops or SPIOps.
func (c *Case) playback(t *testing.T) sensors.Hardware {
	if len(c.SPIOps) > 0 {
		return PlaybackSPI(t, c.SPIMode, c.SPIOps)
	}
	return Playback(t, c.Ops)
}

// busFaults breaks the recorded conversation: no acknowledge at each step, a read that ends half way, a line stuck low or high.
func (c *Case) busFaults() []Fault {
	if len(c.Ops) == 0 {
		return nil
	}
	var faults []Fault
	for i, op := range c.Ops {
		faults = append(faults,
			c.failing(fmt.Sprintf("no acknowledge from transaction %d on", i), &bus{failAt: i, fail: unix.ENXIO}, sensors.ErrAbsent),
			c.failing(fmt.Sprintf("no acknowledge at transaction %d only", i), &bus{failAt: i, fail: unix.ENXIO, once: true}, nil),
		)
		if len(op.R) > 0 {
			faults = append(faults, c.failing(fmt.Sprintf("short read at transaction %d", i), &bus{failAt: i, fail: unix.EIO}, unix.EIO))
		}
	}
	for _, stuck := range []byte{0x00, 0xff} {
		faults = append(faults, Fault{
			Name:     fmt.Sprintf("line stuck at 0x%02x", stuck),
			Hardware: func(t *testing.T) sensors.Hardware { return &Machine{Dir: t.TempDir(), Bus: stuckBus(stuck)} },
		})
	}
	return faults
}

// failing is the recorded conversation on a bus that fails as how says.
func (c *Case) failing(name string, how *bus, want error) Fault {
	return Fault{Name: name, Want: want, Hardware: func(t *testing.T) sensors.Hardware {
		b := &bus{failAt: how.failAt, fail: how.fail, once: how.once}
		b.Ops, b.DontPanic = c.Ops, true
		return &Machine{Dir: t.TempDir(), Bus: b}
	}}
}

// stuckBus acknowledges everything and reads the same bit for ever.
type stuckBus byte

func (b stuckBus) String() string                  { return "stuck" }
func (b stuckBus) SetSpeed(physic.Frequency) error { return errBusBroken }

func (b stuckBus) Tx(_ uint16, _, r []byte) error {
	for i := range r {
		r[i] = byte(b)
	}
	return nil
}
