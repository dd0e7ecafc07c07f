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
	bus  i2c.Bus
	path I2CPath
	addr uint16
	hw   Hardware
}

// OpenI2C returns the chip at addr of the named bus (see ParseI2C). It refuses a chip that a kernel driver has bound, because i2c-dev would let both
// talk to it at once, and what other chips would answer for; it does not look whether anything answers.
func OpenI2C(hw Hardware, bus string, addr uint16) (*I2CDev, error) {
	p, err := ParseI2C(bus)
	if err != nil {
		return nil, err
	}
	d := &I2CDev{path: p, addr: addr, hw: hw}
	n, err := p.number(hw.Root())
	if err != nil {
		return nil, err
	}
	if err := d.taken(filepath.Join(hw.Root(), "sys/bus/i2c/devices"), n); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	if d.bus, err = hw.I2C(bus); err != nil {
		return nil, err
	}
	return d, nil
}

// taken returns why the chip cannot be had: the kernel has it, or what is on the way to it; bus n is the adapter.
func (d *I2CDev) taken(devices string, n int) error {
	hops := d.path.Hops
	for i, h := range hops {
		if h.Address == d.addr {
			return fmt.Errorf("the multiplexer at %s has this address itself, and would answer, too: give the chip another one", I2CPath{Adapter: d.path.Adapter, Number: d.path.Number, Hops: hops[:i+1]})
		}
	}
	if len(hops) > 0 {
		mux := filepath.Join(devices, fmt.Sprintf("%d-%04x", n, hops[0].Address))
		if driver := boundTo(mux); driver != "" {
			return fmt.Errorf("the kernel driver %s has the multiplexer: %s", driver, kernelChannel(mux, hops))
		}
	}
	driver := boundTo(filepath.Join(devices, fmt.Sprintf("%d-%04x", n, d.addr)))
	switch {
	case driver == "":
		return nil
	case len(hops) > 0:
		return fmt.Errorf("the kernel driver %s has a chip with this address before the multiplexer, and both would answer: give one of them another address", driver)
	}
	return fmt.Errorf("the kernel driver %s has this chip: read it through the kernel, or take its overlay out of config.txt "+
		"(until the next boot: echo 0x%02x > /sys/bus/i2c/devices/i2c-%d/delete_device)", driver, d.addr, n)
}

// boundTo returns the kernel driver that has the device of that folder of sysfs, "" for none.
func boundTo(device string) string {
	to, err := os.Readlink(filepath.Join(device, "driver"))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

// kernelChannel says which bus the kernel made of the first of hops, whose multiplexer has the folder mux.
func kernelChannel(mux string, hops []I2CHop) string {
	to, err := os.Readlink(filepath.Join(mux, fmt.Sprintf("channel-%d", hops[0].Channel)))
	n, nerr := I2CNumber(filepath.Base(to))
	if err != nil || nerr != nil {
		return "its channels are buses of their own, ls /dev/i2c-* shows them"
	}
	name := fmt.Sprint(n)
	for _, h := range hops[1:] {
		name += "/" + h.String()
	}
	return fmt.Sprintf("its channel %d is a bus of its own, write bus = %q", hops[0].Channel, name)
}

// Hold keeps other sensors that share this chip away from it until release is called, so that what takes several transactions belongs together. It waits no
// longer than ctx allows; the error wraps ErrTimeout then. Release is never nil.
func (d *I2CDev) Hold(ctx context.Context) (release func(), err error) {
	release, err = hold(ctx, d.hw, d.String())
	if err != nil {
		return release, fmt.Errorf("another sensor holds this chip: %w", err)
	}
	return release, nil
}

// String says where the chip is: "i2c1:0x76", "i2c1/0x70:3:0x76".
func (d *I2CDev) String() string { return fmt.Sprintf("%s:0x%02x", d.path, d.addr) }

// Address returns where the chip is on its bus.
func (d *I2CDev) Address() uint16 { return d.addr }

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
