package sensors

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/i2c"
)

// ErrClosed says that the buses were closed because the program ends.
var ErrClosed = errors.New("buses are closed")

// HardwareOptions changes what NewHardware does. The zero value is right for a real machine.
type HardwareOptions struct {
	// OpenI2C opens bus number n; it is called by the goroutine that owns the bus, at first use and again after the bus kept
	// failing. Nil opens the kernel's /dev/i2c-N below the root.
	OpenI2C func(n int) (i2c.BusCloser, error)
	// OpenSPI is the same for a chip select. Nil opens the kernel's /dev/spidevB.C below the root.
	OpenSPI func(n SPIName, s SPISettings) (SPIPort, error)
	// TxTimeout is the longest a Tx that has no context waits for its turn and its answer. 0 means 2 s.
	TxTimeout time.Duration
	// CloseTimeout is the longest Close waits for transactions that are under way. 0 means 1 s.
	CloseTimeout time.Duration
	// StateDir is the directory in which drivers may keep a small file each; "" for none.
	StateDir string
}

// Board is the hardware of one machine: it opens each bus once, at first use, and lends it to every sensor on it.
// It is safe for concurrent use.
type Board struct {
	Shelf // what else the sensors share

	root string
	opts HardwareOptions

	mu     sync.Mutex
	i2c    map[string]*i2cRoot      // by I2CPath.root
	opened map[int]string           // the adapters that are open, with their root
	spi    map[int]*spiRoot         // by the number of the bus
	held   map[string]chan struct{} // the chips that Hold knows, by their place; a full channel is free
	closed bool
}

// bus is an owner of any kind.
type bus interface {
	close()
	closed() <-chan struct{}
	closing() error
}

var _ Hardware = (*Board)(nil)

// NewHardware returns the hardware of the machine whose proc, sys and dev lie in root: "/", or a fixture tree. It opens nothing
// yet. A nil o means defaults. Close it when every sensor is halted.
func NewHardware(root string, o *HardwareOptions) *Board {
	b := &Board{root: root, i2c: map[string]*i2cRoot{}, opened: map[int]string{}, spi: map[int]*spiRoot{}, held: map[string]chan struct{}{}}
	if o != nil {
		b.opts = *o
	}
	if b.opts.OpenI2C == nil {
		b.opts.OpenI2C = func(n int) (i2c.BusCloser, error) { return openI2CPort(root, n) }
	}
	if b.opts.OpenSPI == nil {
		b.opts.OpenSPI = func(n SPIName, s SPISettings) (SPIPort, error) { return openSPIPort(root, n, s) }
	}
	if b.opts.TxTimeout <= 0 {
		b.opts.TxTimeout = 2 * time.Second
	}
	if b.opts.CloseTimeout <= 0 {
		b.opts.CloseTimeout = time.Second
	}
	return b
}

// Root returns the directory that holds proc, sys and dev.
func (b *Board) Root() string { return b.root }

// StateDir returns HardwareOptions.StateDir.
func (b *Board) StateDir() string { return b.opts.StateDir }

// I2C returns the bus of that name (see ParseI2C). It fails only for a name that is none, or after Close: whether the bus exists shows at
// its first transaction, and a bus that comes later (a USB adapter) is found then.
//
// Its Tx lets one transaction through at a time, in the order of the calls; one behind a multiplexer includes switching the channel on and off. Use
// I2CDev, or Tx of this package, to wait no longer than a context allows.
func (b *Board) I2C(name string) (i2c.Bus, error) {
	p, err := ParseI2C(name)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("%s: %w", p, ErrClosed)
	}
	o := b.i2c[p.root()]
	if o == nil {
		o = &i2cRoot{owner: newOwner(p.root(), func() (i2c.BusCloser, error) { return b.openI2C(p) }, b.opts.TxTimeout)}
		b.i2c[p.root()] = o
	}
	return o.lend(p), nil
}

// openI2C opens the adapter of a path, which must not be open under another name: only one owner can keep the parts of a transaction behind a
// multiplexer together.
func (b *Board) openI2C(p I2CPath) (i2c.BusCloser, error) {
	n, err := p.number(b.root)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	other, taken := b.opened[n]
	if !taken {
		b.opened[n] = p.root()
	}
	b.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("another sensor calls this adapter %s: write its bus in the same way", other)
	}
	closed := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.opened, n)
	}
	port, err := b.opts.OpenI2C(n)
	if err != nil {
		closed()
		return nil, err
	}
	return &openedI2C{BusCloser: port, closed: closed}, nil
}

// openedI2C is a port that says when it is closed.
type openedI2C struct {
	i2c.BusCloser
	closed func()
}

// Close closes the port.
func (o *openedI2C) Close() error {
	defer o.closed()
	return o.BusCloser.Close()
}

// Close refuses new transactions and closes every bus and what else is lent. A transaction that hangs in the kernel cannot be ended: after CloseTimeout
// its goroutine is left behind and named in the error.
func (b *Board) Close() error {
	buses := b.shut()
	for _, o := range buses {
		o.close()
	}
	limit := time.NewTimer(b.opts.CloseTimeout)
	defer limit.Stop()
	expired := false
	errs := []error{b.Shelf.Close()}
	for _, o := range buses {
		if !expired {
			select {
			case <-o.closed():
			case <-limit.C:
				expired = true
			}
		}
		errs = append(errs, o.closing())
	}
	return errors.Join(errs...)
}

// shut makes the board lend nothing more and returns what it lent; nothing at the second call.
func (b *Board) shut() []bus {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	var buses []bus
	for _, o := range b.i2c {
		buses = append(buses, o)
	}
	for _, o := range b.spi {
		buses = append(buses, o)
	}
	return buses
}
