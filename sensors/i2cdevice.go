package sensors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
)

// I2CDev is one chip on a bus: what an I²C driver talks through. It is used by one goroutine at a time.
type I2CDev struct {
	bus    i2c.Bus
	number int
	addr   uint16
}

// OpenI2C returns the chip at addr of the named bus. It refuses a chip that a kernel driver has bound, because i2c-dev would let both
// talk to it at once; it does not look whether anything answers.
func OpenI2C(hw Hardware, bus string, addr uint16) (*I2CDev, error) {
	n, err := I2CNumber(bus)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(hw.Root(), "sys/bus/i2c/devices", fmt.Sprintf("%d-%04x", n, addr))
	if to, err := os.Readlink(filepath.Join(dir, "driver")); err == nil {
		return nil, fmt.Errorf("i2c%d:0x%02x: the kernel driver %s has this chip: read it through the kernel, or take its overlay out of config.txt "+
			"(until the next boot: echo 0x%02x > /sys/bus/i2c/devices/i2c-%d/delete_device)", n, addr, filepath.Base(to), addr, n)
	}
	b, err := hw.I2C(bus)
	if err != nil {
		return nil, err
	}
	return &I2CDev{bus: b, number: n, addr: addr}, nil
}

// String says where the chip is: "i2c1:0x76".
func (d *I2CDev) String() string { return fmt.Sprintf("i2c%d:0x%02x", d.number, d.addr) }

// Tx writes w, then reads len(r) bytes, as one transaction, waiting no longer than ctx allows. Errors wrap ErrAbsent when nothing
// acknowledged and ErrTimeout when there was no answer in time. r is only written when the error is nil.
func (d *I2CDev) Tx(ctx context.Context, w, r []byte) error {
	return classifyI2C(Tx(ctx, d.bus, d.addr, w, r))
}

// Write is Tx for Halt, which has no context: it waits no longer than the bus itself allows.
func (d *I2CDev) Write(w []byte) error {
	return classifyI2C(d.bus.Tx(d.addr, w, nil))
}

// Tx carries out one transaction on bus, waiting no longer than ctx allows if the bus came from a Board.
func Tx(ctx context.Context, bus i2c.Bus, addr uint16, w, r []byte) error {
	if err := Expired(ctx); err != nil {
		return fmt.Errorf("%s: %w", bus, err)
	}
	if b, ok := bus.(interface {
		TxContext(ctx context.Context, addr uint16, w, r []byte) error
	}); ok {
		return b.TxContext(ctx, addr, w, r)
	}
	return bus.Tx(addr, w, r)
}

// classifyI2C adds what the kernel's error number means. Adapters differ in the number they give for a missing acknowledge.
func classifyI2C(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrAbsent), errors.Is(err, ErrTimeout):
		return err
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.EREMOTEIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("no acknowledge, check wiring and address: %w: %w", ErrAbsent, err)
	case errors.Is(err, unix.ETIMEDOUT):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	default:
		return err
	}
}
