package scan_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/physic"

	"iotagent/internal/crc8"
)

// bus is one with chips; what was written to each address is remembered.
type bus struct {
	chips map[uint16]func(w, r []byte) error
	// every, when set, is at all other addresses.
	every func(w, r []byte) error

	mu      sync.Mutex
	asked   []uint16
	written map[uint16][]string
}

func (b *bus) String() string                  { return "bus" }
func (b *bus) SetSpeed(physic.Frequency) error { return nil }

func (b *bus) Tx(addr uint16, w, r []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.asked, addr) {
		b.asked = append(b.asked, addr)
	}
	if text := fmt.Sprintf("%x", w); len(w) > 0 && !slices.Contains(b.written[addr], text) {
		if b.written == nil {
			b.written = map[uint16][]string{}
		}
		b.written[addr] = append(b.written[addr], text)
	}
	chip := b.chips[addr]
	if chip == nil {
		chip = b.every
	}
	if chip == nil {
		return unix.EREMOTEIO
	}
	return chip(w, r)
}

// registers is a chip with a register pointer; values follow each other.
func registers(regs map[byte][]byte) func(w, r []byte) error {
	pointer := byte(0)
	return func(w, r []byte) error {
		if len(w) > 0 {
			pointer = w[0]
		}
		copy(r, make([]byte, len(r)))
		copy(r, regs[pointer])
		return nil
	}
}

// talks is a chip that says nothing until it is asked, as Sensirion's do.
func talks(question, answer []byte) func(w, r []byte) error {
	asked := false
	return func(w, r []byte) error {
		if len(w) > 0 {
			if asked = bytes.Equal(w, question); !asked {
				return unix.EREMOTEIO
			}
		}
		if len(r) > 0 {
			if !asked {
				return unix.EREMOTEIO
			}
			asked = false
			copy(r, answer)
		}
		return nil
	}
}

// words are values of 16 bits, each with its checksum.
func words(values ...uint16) []byte {
	var b []byte
	for _, v := range values {
		w := []byte{byte(v >> 8), byte(v)}
		b = append(b, w[0], w[1], crc8.Sum(w))
	}
	return b
}

// echo is a multiplexer: it gives back the last byte that it was sent, and remembers it.
type echo struct{ control byte }

func (e *echo) tx(w, r []byte) error {
	if len(w) > 0 {
		e.control = w[len(w)-1]
	}
	for i := range r {
		r[i] = e.control
	}
	return nil
}

// measured is a chip that is only read.
func measured(answer []byte) func(w, r []byte) error {
	return func(w, r []byte) error {
		if len(w) > 0 {
			return unix.EIO
		}
		copy(r, answer)
		return nil
	}
}
