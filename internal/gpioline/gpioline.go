// Package gpioline drives output lines through the kernel's GPIO character device, version 2 of its interface (Linux 5.10;
// include/uapi/linux/gpio.h). A line is requested with its first level, so that it never shows another one on the way.
package gpioline

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of a line, as the kernel numbers them.
const (
	FlagUsed         = 1 << 0
	FlagOutput       = 1 << 3
	FlagBiasPullUp   = 1 << 8
	FlagBiasPullDown = 1 << 9
)

// Chip is what the kernel says about a GPIO chip.
type Chip struct {
	// Path of its device, "/dev/gpiochip0"; Name is its last part, Label names the hardware.
	Path, Name, Label string
	Lines             []Info
}

// Info is what the kernel says about a line.
type Info struct {
	Offset uint32
	// Name may be empty; Consumer names who holds the line.
	Name, Consumer string
	Flags          uint64
}

// ReadChip asks for a chip and its lines. It changes nothing.
func ReadChip(path string) (Chip, error) {
	fd, err := open(path)
	if err != nil {
		return Chip{}, err
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	var ci chipInfo
	if err := ioctl(fd, unix.GPIO_GET_CHIPINFO_IOCTL, &ci); err != nil {
		return Chip{}, fmt.Errorf("%s: not a GPIO chip: %w", path, err)
	}
	c := Chip{Path: path, Name: text(ci.name[:]), Label: text(ci.label[:]), Lines: make([]Info, ci.lines)}
	for i := range c.Lines {
		li := lineInfo{offset: uint32(i)}
		if err := ioctl(fd, unix.GPIO_V2_GET_LINEINFO_IOCTL, &li); err != nil {
			return Chip{}, fmt.Errorf("%s: line %d: %w", path, i, old(err))
		}
		c.Lines[i] = Info{Offset: li.offset, Name: text(li.name[:]), Consumer: text(li.consumer[:]), Flags: li.flags}
	}
	return c, nil
}

// Line is an output line that nobody else can drive until Close. Its methods must not be called concurrently.
type Line struct{ fd int }

// Request takes the line as an output that starts at the given level. An error wraps unix.EBUSY when somebody holds it.
func Request(path string, offset uint32, consumer string, high bool) (*Line, error) {
	fd, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }() // the line has a descriptor of its own
	r := lineRequest{numLines: 1}
	r.offsets[0] = offset
	copy(r.consumer[:len(r.consumer)-1], consumer)
	r.config.flags, r.config.numAttrs = FlagOutput, 1
	r.config.attrs[0] = configAttribute{attr: attribute{id: unix.GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES, value: bit(high)}, mask: 1}
	if err := ioctl(fd, unix.GPIO_V2_GET_LINE_IOCTL, &r); err != nil {
		return nil, fmt.Errorf("%s: line %d: %w", path, offset, old(err))
	}
	return &Line{fd: int(r.fd)}, nil
}

// Set drives the line.
func (l *Line) Set(high bool) error {
	v := lineValues{bits: bit(high), mask: 1}
	return ioctl(l.fd, unix.GPIO_V2_LINE_SET_VALUES_IOCTL, &v)
}

// Close lets the line go. What level it has from then on is up to the chip.
func (l *Line) Close() error { return unix.Close(l.fd) }

func open(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return -1, fmt.Errorf("%s: %w", path, err)
		}
	}
}

func ioctl[T any](fd int, request uintptr, arg *T) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(arg))) //nolint:gosec // the kernel wants an address
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// old explains what a kernel without version 2 of the interface answers.
func old(err error) error {
	if errors.Is(err, unix.ENOTTY) {
		return fmt.Errorf("this kernel is too old, Linux 5.10 is needed: %w", err)
	}
	return err
}

func bit(high bool) uint64 {
	if high {
		return 1
	}
	return 0
}

func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
