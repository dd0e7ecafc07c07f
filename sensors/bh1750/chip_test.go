package bh1750

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/physic"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// chip is a BH1750 at 0x23 in that light. It takes its time, and answers 0 before.
type chip struct {
	lux     float64
	failAt  int   // the transaction that fails, and all after it; -1 for none
	once    bool  // those after it succeed
	fail    error // what it fails with, half way through what is read
	count   int   // transactions so far
	on      bool
	time    int
	data    uint16
	ready   time.Time // when data is
	settled uint16    // the data before
}

func (c *chip) String() string { return "chip" }

func (c *chip) SetSpeed(physic.Frequency) error { return errors.New("no speed here") }

func (c *chip) Tx(addr uint16, w, r []byte) error {
	n := c.count
	c.count++
	if c.failAt >= 0 && (n == c.failAt || n > c.failAt && !c.once) {
		copy(r[:len(r)/2], []byte{0x83})
		return c.fail
	}
	if addr != 0x23 {
		return unix.ENXIO
	}
	switch {
	case len(w) == 1 && len(r) == 0:
		return c.command(w[0])
	case len(w) == 0 && len(r) == 2:
		v := c.data
		if time.Now().Before(c.ready) {
			v = c.settled
		}
		r[0], r[1] = byte(v>>8), byte(v)
		return nil
	default:
		return fmt.Errorf("transaction of %d and %d bytes", len(w), len(r))
	}
}

func (c *chip) command(op byte) error {
	if op > opPowerOn && !c.on {
		return fmt.Errorf("command 0x%02x to a chip that is powered down", op)
	}
	switch {
	case op <= opPowerOn:
		c.on = op == opPowerOn
	case op&0xf8 == opTimeHigh:
		c.time = c.time&0x1f | int(op&7)<<5
	case op&0xe0 == opTimeLow:
		c.time = c.time&0xe0 | int(op&0x1f)
	case op == opOneTimeH, op == opOneTimeH2, op == opOneTimeL:
		c.measure(op)
		c.on = false
	default:
		return fmt.Errorf("unknown command 0x%02x", op)
	}
	return nil
}

func (c *chip) measure(op byte) {
	full, steps := 180*time.Millisecond, 1.2
	switch op {
	case opOneTimeH2:
		steps *= 2
	case opOneTimeL:
		full = 24 * time.Millisecond
	}
	c.settled = 0
	c.data = uint16(min(c.lux*steps*float64(c.time)/69+0.5, 0xffff))
	c.ready = time.Now().Add(full * time.Duration(c.time) / 69)
}

// machine returns one with a chip in that light.
func machine(lux float64) func(t *testing.T) sensors.Hardware {
	return func(t *testing.T) sensors.Hardware { return on(t, &chip{lux: lux, failAt: -1}) }
}

func on(t *testing.T, c *chip) *sensortest.Machine {
	t.Helper()
	return &sensortest.Machine{Bus: c, Dir: t.TempDir()}
}

// busFaults are a chip in bright sun, which takes two measurements, that fails at each step: no acknowledge, or half of the data.
func busFaults() []sensortest.Fault {
	var faults []sensortest.Fault
	add := func(name string, c chip, want error) {
		c.lux = 100000
		faults = append(faults, sensortest.Fault{Name: name, Want: want, Hardware: func(t *testing.T) sensors.Hardware {
			broken := c
			return on(t, &broken)
		}})
	}
	for i := range 1 + 2*5 {
		add(fmt.Sprintf("no acknowledge from transaction %d on", i), chip{failAt: i, fail: unix.ENXIO}, sensors.ErrAbsent)
		add(fmt.Sprintf("no acknowledge at transaction %d only", i), chip{failAt: i, fail: unix.EREMOTEIO, once: true}, sensors.ErrAbsent)
		add(fmt.Sprintf("bus error at transaction %d", i), chip{failAt: i, fail: unix.EIO, once: true}, unix.EIO)
		add(fmt.Sprintf("bus hangs at transaction %d", i), chip{failAt: i, fail: unix.ETIMEDOUT, once: true}, sensors.ErrTimeout)
	}
	return faults
}

// bound is a machine on which the kernel's own driver has the chip.
func bound(t *testing.T) sensors.Hardware {
	t.Helper()
	m := on(t, &chip{lux: 320, failAt: -1})
	dir := filepath.Join(m.Dir, "sys/bus/i2c/devices/1-0023")
	if err := errors.Join(os.MkdirAll(dir, 0o750), os.Symlink("../../drivers/bh1750", filepath.Join(dir, "driver"))); err != nil {
		t.Fatal(err)
	}
	return m
}
