package sensors

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/spi"
)

// ErrClosed says that the buses were closed because the program ends.
var ErrClosed = errors.New("buses are closed")

// HardwareOptions changes what NewHardware does. The zero value is right for a real machine.
type HardwareOptions struct {
	// OpenI2C opens bus number n; it is called by the goroutine that owns the bus, at first use and again after the bus kept
	// failing. Nil opens the kernel's /dev/i2c-N below the root.
	OpenI2C func(n int) (i2c.BusCloser, error)
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
	root string
	opts HardwareOptions

	mu     sync.Mutex
	buses  map[int]*busOwner
	closed bool
}

var _ Hardware = (*Board)(nil)

// NewHardware returns the hardware of the machine whose proc, sys and dev lie in root: "/", or a fixture tree. It opens nothing
// yet. A nil o means defaults. Close it when every sensor is halted.
func NewHardware(root string, o *HardwareOptions) *Board {
	b := &Board{root: root, buses: map[int]*busOwner{}}
	if o != nil {
		b.opts = *o
	}
	if b.opts.OpenI2C == nil {
		b.opts.OpenI2C = func(n int) (i2c.BusCloser, error) { return openI2CPort(root, n) }
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

// SPI is not there yet.
func (b *Board) SPI(name string) (spi.Port, error) {
	return nil, fmt.Errorf("spi port %q: not supported yet", name)
}

// Input is not there yet.
func (b *Board) Input(line string, _ InputOptions) (Input, error) {
	return nil, fmt.Errorf("gpio line %q: not supported yet", line)
}

// I2C returns the bus of that name or number. It fails only for a name that is none, or after Close: whether the bus exists shows at
// its first transaction, and a bus that comes later (a USB adapter) is found then.
//
// Its Tx lets one transaction through at a time, in the order of the calls. Use I2CDev, or Tx of this package, to wait no longer than a
// context allows.
func (b *Board) I2C(name string) (i2c.Bus, error) {
	n, err := I2CNumber(name)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("i2c%d: %w", n, ErrClosed)
	}
	o := b.buses[n]
	if o == nil {
		o = newBusOwner(n, b.opts.OpenI2C, b.opts.TxTimeout)
		b.buses[n] = o
	}
	return o, nil
}

// Close refuses new transactions and closes every bus. A transaction that hangs in the kernel cannot be ended: after CloseTimeout
// its goroutine is left behind and named in the error.
func (b *Board) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	for _, o := range b.buses {
		close(o.stop)
	}
	limit := time.NewTimer(b.opts.CloseTimeout)
	defer limit.Stop()
	expired := false
	var errs []error
	for _, o := range b.buses {
		if !expired {
			select {
			case <-o.done:
			case <-limit.C:
				expired = true
			}
		}
		select {
		case <-o.done:
			errs = append(errs, o.closeErr)
		default:
			errs = append(errs, o.stuck())
		}
	}
	return errors.Join(errs...)
}

// I2CNumber returns the number of the bus that a configuration calls "1", "I2C1", "i2c-1" or "/dev/i2c-1".
func I2CNumber(name string) (int, error) {
	digits := strings.TrimPrefix(name, "/dev/")
	if len(digits) >= 3 && strings.EqualFold(digits[:3], "i2c") {
		digits = strings.TrimPrefix(digits[3:], "-")
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("i2c bus %q: want a number such as \"1\", or \"/dev/i2c-1\"", name)
	}
	return int(n), nil
}
