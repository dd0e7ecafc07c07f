// Package gpioline takes lines of the kernel's GPIO character device, version 2 of its interface (Linux 5.10;
// include/uapi/linux/gpio.h), and finds the line that a technician means.
//
// An output is requested with its first level, so that it never shows another one on the way. An input is requested as it is: neither
// its bias nor any other line is touched unless that was asked for.
package gpioline

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Flags of a line, as the kernel numbers them.
const (
	FlagUsed         = 1 << 0
	FlagActiveLow    = 1 << 1
	FlagInput        = 1 << 2
	FlagOutput       = 1 << 3
	FlagEdgeRising   = 1 << 4
	FlagEdgeFalling  = 1 << 5
	FlagBiasPullUp   = 1 << 8
	FlagBiasPullDown = 1 << 9
	FlagBiasDisabled = 1 << 10
)

// Chip is what the kernel says about a GPIO chip.
type Chip struct {
	// Path of its device, "/dev/gpiochip0"; Name is its last part, Label names the hardware.
	Path, Name, Label string
	// Links are other names of the device: a Raspberry Pi 5 keeps gpiochip4 as a link to gpiochip0.
	Links []string
	Lines []Info
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

// request takes one line of a chip.
func request(path string, offset uint32, consumer string, config lineConfig, events uint32) (int, error) {
	fd, err := open(path)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(fd) }() // the line has a descriptor of its own
	r := lineRequest{numLines: 1, config: config, eventBufferSize: events}
	r.offsets[0] = offset
	copy(r.consumer[:len(r.consumer)-1], consumer)
	if err := ioctl(fd, unix.GPIO_V2_GET_LINE_IOCTL, &r); err != nil {
		return -1, fmt.Errorf("%s: line %d: %w", path, offset, old(err))
	}
	return int(r.fd), nil
}
