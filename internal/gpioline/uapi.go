package gpioline

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The structures of include/uapi/linux/gpio.h. Every field stands at a multiple of its own size, so the layout is the same on
// 32-bit and 64-bit machines; a test holds the sizes.

type chipInfo struct {
	name, label [32]byte
	lines       uint32
}

type attribute struct {
	id, _ uint32
	value uint64 // flags, levels or, in its first half, microseconds, by id
}

type configAttribute struct {
	attr attribute
	mask uint64
}

type lineConfig struct {
	flags    uint64
	numAttrs uint32
	_        [5]uint32
	attrs    [10]configAttribute
}

type lineRequest struct {
	offsets         [64]uint32
	consumer        [32]byte
	config          lineConfig
	numLines        uint32
	eventBufferSize uint32
	_               [5]uint32
	fd              int32
}

type lineInfo struct {
	name, consumer [32]byte
	offset, _      uint32 // and num_attrs
	flags          uint64
	attrs          [10]attribute
	_              [4]uint32
}

type lineValues struct{ bits, mask uint64 }

type lineEvent struct {
	timestamp        uint64
	id, offset       uint32
	seqno, lineSeqno uint32
	_                [6]uint32
}

// add gives the line an attribute.
func (c *lineConfig) add(id uint32, value uint64) {
	c.attrs[c.numAttrs] = configAttribute{attr: attribute{id: id, value: value}, mask: 1}
	c.numAttrs++
}

// firstHalf is a value of 32 bits where the kernel has a union with one of 64.
func firstHalf(v uint32) (value uint64) {
	*(*uint32)(unsafe.Pointer(&value)) = v //nolint:gosec // the union starts with it, whichever end comes first
	return value
}

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
