package simi2c

import (
	"encoding/binary"
	"sync"
	"time"
)

// A Chip is what hangs on the bus. The adapter lets one call through at a time. What they return says whether the chip acknowledged.
type Chip interface {
	// Write takes the bytes of one write after the address; there may be none.
	Write(b []byte) bool
	// Read fills b.
	Read(b []byte) bool
}

// Adapter is the USB device with its bus. The zero value has no chips. It is safe for concurrent use.
type Adapter struct {
	mu        sync.Mutex
	chips     map[uint16]Chip
	nak       map[uint16]bool
	delay     time.Duration
	hang      bool
	acked     bool
	transfers int
}

// Put connects a chip at a 7-bit address.
func (a *Adapter) Put(addr uint16, c Chip) {
	a.Do(func() {
		if a.chips == nil {
			a.chips = map[uint16]Chip{}
		}
		a.chips[addr] = c
	})
}

// Do calls f while nothing moves on the bus, so that f may change the chips.
func (a *Adapter) Do(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// Nak lets the chip at addr acknowledge nothing, or takes that back.
func (a *Adapter) Nak(addr uint16, on bool) {
	a.Do(func() {
		if a.nak == nil {
			a.nak = map[uint16]bool{}
		}
		a.nak[addr] = on
	})
}

// Slow makes every transfer take that long. 0 is the end of it.
func (a *Adapter) Slow(d time.Duration) { a.Do(func() { a.delay = d }) }

// Hang leaves every transfer without an answer from now on, or takes that back. The kernel waits 2 s for each.
func (a *Adapter) Hang(on bool) { a.Do(func() { a.hang = on }) }

// Transfers returns how many messages there were on the bus.
func (a *Adapter) Transfers() (n int) {
	a.Do(func() { n = a.transfers })
	return n
}

// The firmware's commands, the wValue that marks a read (I2C_M_RD), and the answers to cmdStatus.
const (
	cmdEcho     = 0
	cmdFuncs    = 1
	cmdSetDelay = 2
	cmdStatus   = 3
	cmdIO       = 4 // and with a start condition (1), a stop condition (2) or both added

	flagRead = 1

	statusAck = 1
	statusNak = 2

	// functions are I2C_FUNC_I2C and what the kernel makes of SMBus out of it (I2C_FUNC_SMBUS_EMUL).
	functions = 0x0eff0001
)

// setup is the packet that begins a control transfer (USB 2.0, 9.3).
type setup struct {
	requestType, request byte
	value, index, length uint16
}

func parseSetup(b []byte) setup {
	le := binary.LittleEndian
	return setup{b[0], b[1], le.Uint16(b[2:]), le.Uint16(b[4:]), le.Uint16(b[6:])}
}

// A reply ends a control transfer: with data or with an error, after a while or never.
type reply struct {
	data  []byte
	stall bool
	after time.Duration
	never bool
}

// control carries out one control transfer. data is what the host sends.
func (a *Adapter) control(s setup, data []byte) reply {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := reply{stall: true}
	switch {
	case s.requestType&0x60 == 0:
		r = standard(s)
	case s.request == cmdEcho:
		r = reply{data: binary.LittleEndian.AppendUint16(nil, s.value)}
	case s.request == cmdFuncs:
		r = reply{data: binary.LittleEndian.AppendUint32(nil, functions)}
	case s.request == cmdSetDelay:
		r = reply{}
	case s.request == cmdStatus:
		r = reply{data: []byte{statusNak}}
		if a.acked {
			r.data[0] = statusAck
		}
	case s.request >= cmdIO && s.request <= cmdIO+3:
		r = reply{data: a.transfer(s, data), after: a.delay, never: a.hang}
	}
	r.data = r.data[:min(len(r.data), int(s.length))]
	return r
}

// transfer carries out one message and returns what a read gave. A chip that is not there leaves the data line high.
func (a *Adapter) transfer(s setup, data []byte) []byte {
	a.transfers++
	chip := a.chips[s.index]
	if a.nak[s.index] {
		chip = nil
	}
	if s.value&flagRead == 0 {
		a.acked = chip != nil && chip.Write(data)
		return nil
	}
	read := make([]byte, s.length)
	for i := range read {
		read[i] = 0xff
	}
	a.acked = chip != nil && chip.Read(read)
	return read
}
