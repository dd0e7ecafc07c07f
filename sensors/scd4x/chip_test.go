package scd4x

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/physic"

	"iotagent/internal/crc8"
	"iotagent/sensors/sensortest"
)

// chip is an SCD4x that takes its time and acknowledges only what it does at that moment.
type chip struct {
	variant  uint16
	co2      uint16 // the next measurement's; each has one more
	asleep   bool
	period   time.Duration // of the measurements under way; 0 while idle
	next     time.Time     // when the next one is done
	last     time.Time     // when the one in the buffer was done; zero when it is empty
	busy     time.Time     // until when nothing is acknowledged
	answer   []byte
	settings map[uint16]uint16
	shots    int
	starts   int
}

func (c *chip) String() string { return "chip" }

func (c *chip) SetSpeed(physic.Frequency) error { return errors.New("no speed here") }

// lose takes the chip's power away for a moment.
func (c *chip) lose() { *c = chip{variant: c.variant, co2: c.co2, shots: c.shots, starts: c.starts} }

// advance makes the measurements that were due.
func (c *chip) advance() {
	for c.period > 0 && !time.Now().Before(c.next) {
		c.last, c.next = c.next, c.next.Add(c.period)
		c.co2++
	}
}

func (c *chip) Tx(addr uint16, w, r []byte) error {
	c.advance()
	if addr != address || time.Now().Before(c.busy) {
		return unix.ENXIO
	}
	switch {
	case len(w) >= 2 && len(r) == 0:
		c.answer = nil
		return c.command(binary.BigEndian.Uint16(w), w[2:])
	case len(w) == 0 && c.answer != nil && len(r) == len(c.answer):
		copy(r, c.answer)
		c.answer = nil
		return nil
	case len(w) == 0:
		return unix.EREMOTEIO
	default:
		return fmt.Errorf("transaction of %d and %d bytes", len(w), len(r))
	}
}

// words is an answer.
func words(ws ...uint16) []byte {
	var b bytes.Buffer
	for _, w := range ws {
		x := binary.BigEndian.AppendUint16(nil, w)
		b.Write(append(x, crc8.Sum(x)))
	}
	return b.Bytes()
}

func (c *chip) takes(ms int) { c.busy = time.Now().Add(time.Duration(ms) * time.Millisecond) }

func (c *chip) command(code uint16, arg []byte) error {
	if c.asleep && code == 0x36f6 {
		c.asleep = false
		c.takes(30)
		return unix.ENXIO
	}
	measuring := code == 0xec05 || code == 0xe4b8 || code == 0x3f86
	if c.asleep || c.period > 0 && !measuring {
		return unix.ENXIO
	}
	switch code {
	case 0x21b1, 0x21ac:
		c.starts++
		c.period = map[uint16]time.Duration{0x21b1: 5 * time.Second, 0x21ac: 30 * time.Second}[code]
		c.next = time.Now().Add(c.period)
	case 0x3f86:
		c.period, c.last = 0, time.Time{}
		c.takes(500)
	case 0x219d:
		c.shots++
		c.co2++
		c.takes(5000)
		c.last = c.busy
	case 0x36e0:
		c.asleep = true
	case 0x3646:
		c.settings = nil
		c.takes(30)
	case 0x3682, 0x202f, 0xe4b8, 0xec05:
		c.takes(1)
		return c.ask(code)
	default:
		c.takes(1)
		return c.set(code, arg)
	}
	return nil
}

func (c *chip) ask(code uint16) error {
	switch {
	case code == 0x3682:
		c.answer = words(0xf896, 0x9f07, 0x3bbe)
	case code == 0x202f:
		c.answer = words(c.variant)
	case code == 0xe4b8 && c.last.IsZero():
		c.answer = words(0x8000)
	case code == 0xe4b8:
		c.answer = words(0x8006)
	case c.last.IsZero():
		return unix.ENXIO
	default:
		c.answer = words(c.co2, 0x6667, 0x5eb9)
		c.last = time.Time{}
	}
	return nil
}

func (c *chip) set(code uint16, arg []byte) error {
	if len(arg) != 3 || crc8.Sum(arg[:2]) != arg[2] {
		return fmt.Errorf("unknown command 0x%04x % x", code, arg)
	}
	if c.settings == nil {
		c.settings = map[uint16]uint16{}
	}
	c.settings[code] = binary.BigEndian.Uint16(arg)
	return nil
}

// machine returns one with that chip.
func machine(t *testing.T, c *chip) *sensortest.Machine {
	t.Helper()
	return &sensortest.Machine{Bus: c, Dir: t.TempDir()}
}
