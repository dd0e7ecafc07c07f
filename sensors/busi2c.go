package sensors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// heldAfter is the number of timeouts in a row, of all the chips of a bus, after which a line is taken to be held low.
const heldAfter = 3

// i2cRoot is an adapter with the multiplexers on it.
//
// A multiplexer has a channel on for the length of one transaction, and none between two, so that a chip behind it never answers for another chip
// with the same address. As nobody knows what a process that was killed, or an error, left on, a multiplexer is switched off before anything else happens on the
// bus when it is new or when it did not confirm that it is off.
type i2cRoot struct {
	*owner[i2c.BusCloser]

	mu    sync.Mutex
	muxes []*i2cMux // each after those before it on its path

	timeouts int // in a row; the owner's goroutine alone uses it
}

// i2cMux is a multiplexer that a configuration names.
type i2cMux struct {
	before  []I2CHop
	address uint16
	doubt   bool // whether a channel may be on; the owner's goroutine alone uses it once the multiplexer is known
}

// lend returns the bus at the end of the path and remembers its multiplexers.
func (b *i2cRoot) lend(p I2CPath) i2c.Bus {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, h := range p.Hops {
		before := p.Hops[:i]
		if b.findLocked(before, h.Address) == nil {
			b.muxes = append(b.muxes, &i2cMux{before: before, address: h.Address, doubt: true})
		}
	}
	return &i2cLent{root: b, path: p}
}

func (b *i2cRoot) findLocked(before []I2CHop, address uint16) *i2cMux {
	for _, m := range b.muxes {
		if m.address == address && slices.Equal(m.before, before) {
			return m
		}
	}
	return nil
}

// transact is a whole transaction with the chip behind hops; nobody comes between its parts, because it is one request of the owner.
func (b *i2cRoot) transact(port i2c.Bus, hops []I2CHop, addr uint16, w, r []byte) error {
	err := b.quiet(port)
	if err == nil {
		err = b.through(port, hops, 0, func() error { return port.Tx(addr, w, r) })
	}
	if !waitedInVain(err) {
		b.timeouts = 0
		return err
	}
	if b.timeouts++; b.timeouts < heldAfter {
		return err
	}
	return fmt.Errorf("%w: the last %d transactions on this bus ended so: SDA or SCL is probably held low, by a chip that hangs or a short; take the power off "+
		"the chips for some seconds (a reboot does not), then look for a short and for missing pull-ups", err, b.timeouts)
}

// through runs f with the channels of hops from depth on switched on, and switches them off again.
func (b *i2cRoot) through(port i2c.Bus, hops []I2CHop, depth int, f func() error) error {
	if depth == len(hops) {
		return f()
	}
	h := hops[depth]
	err := port.Tx(h.Address, []byte{1 << h.Channel}, nil)
	if err != nil {
		err = fmt.Errorf("multiplexer 0x%02x does not take its channel %d: %w", h.Address, h.Channel, err)
	} else {
		err = b.through(port, hops, depth+1, f)
	}
	if off := switchOff(port, h.Address); off != nil {
		b.mu.Lock()
		m := b.findLocked(hops[:depth], h.Address)
		b.mu.Unlock()
		m.doubt = true
	}
	return err
}

// quiet switches off the multiplexers of which it is not known that they are, those at the ends of paths first: on the way to them, others
// come into doubt. One that does not answer is not there, and connects nothing.
func (b *i2cRoot) quiet(port i2c.Bus) error {
	b.mu.Lock()
	muxes := b.muxes
	b.mu.Unlock()
	for _, m := range slices.Backward(muxes) {
		if !m.doubt {
			continue
		}
		err := b.through(port, m.before, 0, func() error { return switchOff(port, m.address) })
		switch {
		case err == nil:
			m.doubt = false
		case !nobodyThere(err):
			return fmt.Errorf("multiplexer 0x%02x does not confirm that it is off, so a chip behind it might answer for another: %w", m.address, err)
		}
	}
	return nil
}

// switchOff tries twice, because much depends on it.
func switchOff(port i2c.Bus, address uint16) error {
	if port.Tx(address, []byte{0}, nil) == nil {
		return nil
	}
	return port.Tx(address, []byte{0}, nil)
}

// nobodyThere reports whether err is a missing acknowledge. Adapters differ in the number they give for it.
func nobodyThere(err error) bool {
	return errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EREMOTEIO)
}

// waitedInVain reports whether err is what a bus gives whose lines do not go high: a timeout, a lost arbitration, a bus that is never free.
func waitedInVain(err error) bool {
	return errors.Is(err, unix.ETIMEDOUT) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EBUSY)
}

// i2cLent is the bus that a Board lends: a path of which somebody else owns the adapter.
type i2cLent struct {
	root *i2cRoot
	path I2CPath
}

var _ i2c.Bus = (*i2cLent)(nil)

// String names the bus: "i2c1".
func (l *i2cLent) String() string { return l.path.String() }

// SetSpeed is refused: one sensor must not change the bus of another.
func (l *i2cLent) SetSpeed(physic.Frequency) error {
	return fmt.Errorf("%s: the speed is set by the kernel (dtparam=i2c_arm_baudrate=)", l)
}

// Tx carries out one transaction, waiting no longer than HardwareOptions.TxTimeout.
func (l *i2cLent) Tx(addr uint16, w, r []byte) error {
	return l.tx(addr, w, r, l.root.limited)
}

// TxContext carries out one transaction, waiting no longer than ctx allows.
func (l *i2cLent) TxContext(ctx context.Context, addr uint16, w, r []byte) error {
	return l.tx(addr, w, r, func(with string, run func(i2c.BusCloser) error) error { return l.root.within(ctx, with, run) })
}

// tx hands do a transaction on copies, which it may still use after it has returned an error.
func (l *i2cLent) tx(addr uint16, w, r []byte, do func(string, func(i2c.BusCloser) error) error) error {
	out, in := bytes.Clone(w), make([]byte, len(r))
	with := fmt.Sprintf("0x%02x", addr)
	for _, h := range slices.Backward(l.path.Hops) {
		with = h.String() + "/" + with
	}
	err := do(with, func(port i2c.BusCloser) error { return l.root.transact(port, l.path.Hops, addr, out, in) })
	if err == nil {
		copy(r, in)
	}
	return err
}
