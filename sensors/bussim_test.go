package sensors_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/physic"

	"iotagent/sensors"
)

// segment is a piece of a simulated bus: the chips and multiplexers that are joined without a switch.
type segment struct {
	chips map[uint16]byte // what each answers
	muxes map[uint16]*simMux
}

// simMux is a TCA9548A.
type simMux struct {
	on       byte
	channels [8]segment
	deaf     error // what it answers with, nil when it works
}

// simBus answers as the chips that hear the address do: lines are pulled low by any of them, so several answers are and-ed together.
type simBus struct {
	root     segment
	inFlight atomic.Int32
	overlaps atomic.Int32
	clashes  atomic.Int32
	fail     func(addr uint16, w []byte) error
	log      []string
}

func (b *simBus) String() string                  { return "sim" }
func (b *simBus) SetSpeed(physic.Frequency) error { return nil }
func (b *simBus) Close() error                    { return nil }

func (b *simBus) Tx(addr uint16, w, r []byte) error {
	if b.inFlight.Add(1) > 1 {
		b.overlaps.Add(1)
	}
	defer b.inFlight.Add(-1)
	b.log = append(b.log, fmt.Sprintf("%02x:%x", addr, w))
	if b.fail != nil {
		if err := b.fail(addr, w); err != nil {
			return err
		}
	}
	for i := range r {
		r[i] = 0xff
	}
	answers, err := b.root.hear(addr, w, r)
	if answers > 1 {
		b.clashes.Add(1)
	}
	if answers == 0 && err == nil {
		err = unix.ENXIO
	}
	return err
}

// hear lets everybody who is connected hear a transaction. The channels switch at its end.
func (s *segment) hear(addr uint16, w, r []byte) (answers int, err error) {
	if value, ok := s.chips[addr]; ok {
		answers++
		for i := range r {
			r[i] &= value
		}
	}
	for a, m := range s.muxes {
		for i := range m.channels {
			if m.on&(1<<i) != 0 {
				n, e := m.channels[i].hear(addr, w, r)
				answers, err = answers+n, errors.Join(err, e)
			}
		}
		switch {
		case a != addr:
		case m.deaf != nil:
			err = errors.Join(err, m.deaf)
		default:
			answers++
			if len(w) == 1 {
				m.on = w[0]
			}
		}
	}
	return answers, err
}

// rig is a bus with a multiplexer of eight chips with the same address, one of them behind another multiplexer.
func rig() *simBus {
	outer, inner := &simMux{}, &simMux{}
	for i := range outer.channels {
		outer.channels[i] = segment{chips: map[uint16]byte{0x76: byte(0x10 + i)}}
		inner.channels[i] = segment{chips: map[uint16]byte{0x77: byte(0x20 + i)}}
	}
	outer.channels[3].muxes = map[uint16]*simMux{0x71: inner}
	return &simBus{root: segment{chips: map[uint16]byte{0x40: 0x01}, muxes: map[uint16]*simMux{0x70: outer}}}
}

// id reads the chip at addr of the named bus.
func id(t *testing.T, hw sensors.Hardware, bus string, addr uint16) (byte, error) {
	t.Helper()
	d, err := sensors.OpenI2C(hw, bus, addr)
	if err != nil {
		t.Fatal(err)
	}
	var r [1]byte
	err = d.Tx(t.Context(), []byte{0xd0}, r[:])
	return r[0], err
}
