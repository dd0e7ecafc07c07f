package sensors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// SPIPort is an open chip select. It is used by one goroutine at a time.
type SPIPort interface {
	// Tx sends w and receives as many bytes into r; either may be empty.
	Tx(w, r []byte) error
	Close() error
}

// SPISettings are how a chip is talked to.
type SPISettings struct {
	// Mode is one of spi.Mode0 to spi.Mode3.
	Mode spi.Mode
	// MaxSpeed is the clock's limit.
	MaxSpeed physic.Frequency
}

// String is "Mode1, at most 5MHz".
func (s SPISettings) String() string { return fmt.Sprintf("%s, at most %s", s.Mode, s.MaxSpeed) }

// spiRoot is an SPI bus, whose chip selects take turns.
type spiRoot struct {
	*owner[*spiPorts]

	mu       sync.Mutex
	settings map[SPIName]SPISettings // of the chip selects that were connected
}

// spiPorts are the open chip selects of a bus.
type spiPorts struct {
	open  func(n SPIName, s SPISettings) (SPIPort, error)
	ports map[SPIName]SPIPort
}

// port returns the chip select, opening it at its first use.
func (p *spiPorts) port(n SPIName, s SPISettings) (SPIPort, error) {
	if port := p.ports[n]; port != nil {
		return port, nil
	}
	port, err := p.open(n, s)
	if err != nil {
		return nil, err
	}
	p.ports[n] = port
	return port, nil
}

// Close closes them all.
func (p *spiPorts) Close() error {
	var errs []error
	for _, port := range p.ports {
		errs = append(errs, port.Close())
	}
	return errors.Join(errs...)
}

// SPI returns the port of that name (see ParseSPI). It fails only for a name that is none, or after Close: whether the port exists shows at its
// first transaction.
//
// Connect may be called any number of times, always with the same mode and speed. The Tx of what it returns lets one transaction of the bus through at a time,
// in the order of the calls; SPIDev waits no longer than a context allows.
func (b *Board) SPI(name string) (spi.Port, error) {
	n, err := ParseSPI(name)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("%s: %w", n, ErrClosed)
	}
	o := b.spi[n.Bus]
	if o == nil {
		open := func() (*spiPorts, error) { return &spiPorts{open: b.opts.OpenSPI, ports: map[SPIName]SPIPort{}}, nil }
		o = &spiRoot{owner: newOwner(fmt.Sprintf("spi%d", n.Bus), open, b.opts.TxTimeout), settings: map[SPIName]SPISettings{}}
		b.spi[n.Bus] = o
	}
	return &spiLent{root: o, name: n}, nil
}

// spiLent is the port that a Board lends, and after Connect its connection.
type spiLent struct {
	root     *spiRoot
	name     SPIName
	settings SPISettings
}

var (
	_ spi.Port = (*spiLent)(nil)
	_ spi.Conn = (*spiLent)(nil)
)

// String names the chip select: "spi0.1".
func (l *spiLent) String() string { return l.name.String() }

// Connect fixes the settings of the chip select. Others later are refused: there is one chip on it.
func (l *spiLent) Connect(f physic.Frequency, mode spi.Mode, bits int) (spi.Conn, error) {
	s := SPISettings{Mode: mode, MaxSpeed: f}
	if mode < spi.Mode0 || mode > spi.Mode3 || bits != 8 || f < physic.Hertz {
		return nil, fmt.Errorf("%s with %d bits a word: only the modes 0 to 3 with 8 bits, at 1 Hz and more, are supported", s, bits)
	}
	l.root.mu.Lock()
	defer l.root.mu.Unlock()
	if first, taken := l.root.settings[l.name]; taken && first != s {
		return nil, fmt.Errorf("%s is wanted, but another sensor uses this chip select with %s; a chip select has one chip", s, first)
	}
	l.root.settings[l.name] = s
	return &spiLent{root: l.root, name: l.name, settings: s}, nil
}

// Duplex is full.
func (l *spiLent) Duplex() conn.Duplex { return conn.Full }

// TxPackets is refused; no driver needs it.
func (l *spiLent) TxPackets([]spi.Packet) error {
	return fmt.Errorf("%s: packets are not supported, use one Tx", l.name)
}

// Tx carries out one transaction, waiting no longer than HardwareOptions.TxTimeout.
func (l *spiLent) Tx(w, r []byte) error { return l.tx(w, r, l.root.limited) }

// TxContext carries out one transaction, waiting no longer than ctx allows.
func (l *spiLent) TxContext(ctx context.Context, w, r []byte) error {
	return l.tx(w, r, func(with string, run func(*spiPorts) error) error { return l.root.within(ctx, with, run) })
}

// tx hands do a transaction on copies, which it may still use after it has returned an error.
func (l *spiLent) tx(w, r []byte, do func(string, func(*spiPorts) error) error) error {
	if len(w) > 0 && len(r) > 0 && len(w) != len(r) {
		return fmt.Errorf("%s: %d bytes to send and %d to receive: both go over the wires at the same time", l.name, len(w), len(r))
	}
	out, in := bytes.Clone(w), make([]byte, len(r))
	err := do(l.name.String(), func(ports *spiPorts) error {
		port, err := ports.port(l.name, l.settings)
		if err != nil {
			return err
		}
		return port.Tx(out, in)
	})
	if err == nil {
		copy(r, in)
	}
	return err
}
