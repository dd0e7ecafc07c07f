package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"

	"iotagent/sensors"
)

const (
	// askLimit is how long one transaction may take, identifyLimit a conversation.
	askLimit      = 250 * time.Millisecond
	identifyLimit = time.Second
	// hangsAfter transactions in a row without an answer the bus is given up.
	hangsAfter = 3
)

// prober asks the addresses of one bus, one after the other.
type prober struct {
	m     *machine
	bus   i2c.Bus
	name  string  // of the bus
	above *prober // of the bus that the multiplexer is on; nil for an adapter
	hangs int     // transactions in a row that had no answer
}

func (m *machine) prober(name string) (*prober, error) {
	bus, err := m.hw.I2C(name)
	if err != nil {
		return nil, err
	}
	p := &prober{m: m, bus: bus, name: name}
	if i := strings.LastIndexByte(name, '/'); i > 0 {
		p.above, err = m.prober(name[:i])
	}
	return p, err
}

// reached returns an error when the multiplexer on the way to the bus does not answer.
func (p *prober) reached(ctx context.Context) error {
	path, err := sensors.ParseI2C(p.name)
	if err != nil || p.above == nil {
		return err
	}
	mux := path.Hops[len(path.Hops)-1].Address
	if _, err := p.above.read(ctx, mux); err != nil {
		return fmt.Errorf("the multiplexer at 0x%02x does not answer: %w", mux, err)
	}
	return nil
}

// has reports whether a chip on the bus itself answers, as it then does on every channel of its multiplexers.
func (p *prober) has(ctx context.Context, addr uint16) bool {
	if p == nil {
		return false
	}
	c, _, err := p.probe(ctx, addr)
	return err == nil && c != nil || p.above.has(ctx, addr)
}

// probe finds out what is at an address; nil is nothing. An error means that there is no use in going on.
func (p *prober) probe(ctx context.Context, addr uint16) (*Chip, []block, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, nil, fmt.Errorf("not probed to its end: %w", err)
	}
	before, err := p.read(ctx, addr)
	answers, err := p.judge(err)
	if err != nil {
		return nil, nil, err
	}
	mux := answers && addr >= firstMux && p.echoes(ctx, addr, before)
	c := &Chip{Address: hex(addr)}
	for _, d := range p.m.Drivers {
		if !slices.Contains(d.Addresses, addr) {
			continue
		}
		name, fits := p.identify(ctx, d, addr)
		if name != "" {
			c.Name, c.Type, c.Possible = name, d.Type, nil
			return c, []block{i2cBlock(d, p.name, addr, name, true)}, nil
		}
		if fits && answers {
			c.Possible = append(c.Possible, d.Type)
		}
	}
	if !answers {
		return nil, nil, nil
	}
	if mux {
		_ = p.write(ctx, addr, before) // its channels, as they were; to anything else what it was sent before
		c.Multiplexer, c.Possible = true, nil
	}
	var blocks []block
	for _, d := range p.m.Drivers {
		if slices.Contains(c.Possible, d.Type) {
			blocks = append(blocks, i2cBlock(d, p.name, addr, "", false))
		}
	}
	return c, blocks, nil
}

// identify asks a driver. Without a question to ask, anything fits.
func (p *prober) identify(ctx context.Context, d sensors.Driver, addr uint16) (name string, fits bool) {
	if d.Identify == nil {
		return "", true
	}
	dev, err := sensors.OpenI2C(p.m.hw, p.name, addr)
	if err != nil {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, identifyLimit)
	defer cancel()
	name, err = d.Identify(ctx, dev)
	if err != nil {
		return "", !errors.Is(err, sensors.ErrAbsent) && !errors.Is(err, sensors.ErrChecksum)
	}
	return name, true
}

// judge tells a chip that does not answer from a bus that does not work.
func (p *prober) judge(err error) (answers bool, fatal error) {
	switch {
	case err == nil:
		p.hangs = 0
		return true, nil
	case errors.Is(err, fs.ErrPermission):
		return false, err
	case errors.Is(err, sensors.ErrTimeout), errors.Is(err, unix.ETIMEDOUT):
		if p.hangs++; p.hangs >= hangsAfter {
			return false, fmt.Errorf("does not work: is SDA or SCL held low, or without its pull-up? %w", err)
		}
		return false, nil
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.EREMOTEIO), errors.Is(err, unix.EIO), errors.Is(err, unix.EAGAIN):
		p.hangs = 0
		return false, nil // adapters differ in the number that they give for a missing acknowledge
	}
	return false, err
}

// echoes looks whether the chip gives back the byte it was sent, as a TCA9548A does. What is sent is what it has just said: to such a
// multiplexer the channels that are on already, to a chip with registers the number of one.
func (p *prober) echoes(ctx context.Context, addr uint16, b byte) bool {
	if p.write(ctx, addr, b) != nil {
		return false
	}
	again, err := p.read(ctx, addr)
	return err == nil && again == b
}

func (p *prober) read(ctx context.Context, addr uint16) (byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var b [1]byte
	err := sensors.Tx(ctx, p.bus, addr, nil, b[:])
	return b[0], err
}

func (p *prober) write(ctx context.Context, addr uint16, b byte) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	return sensors.Tx(ctx, p.bus, addr, []byte{b}, nil)
}
