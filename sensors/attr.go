package sensors

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// attrSize is more than any attribute of sysfs (one page) and than the /proc files the drivers read.
const attrSize = 16 << 10

// ReadAttr returns the text of a file of sysfs or procfs, without surrounding white space.
//
// It makes a single blocking read(2), on purpose: kernel drivers answer a read with EAGAIN when a value is not ready, which
// os.ReadFile would wait on for ever, and a second read may start another conversion. It blocks as long as the kernel
// does. Errors are *fs.PathError and wrap the kernel's number.
func ReadAttr(path string) (string, error) {
	fd, err := ignoringEINTR(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written, so nothing can be lost
	buf := make([]byte, attrSize)
	n, err := ignoringEINTR(func() (int, error) { return unix.Read(fd, buf) })
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: path, Err: err}
	}
	if n == len(buf) {
		return "", fmt.Errorf("%s: longer than %d bytes", path, attrSize-1)
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

// Meaning adds to an error of ReadAttr what the kernel's number says of the chip: ErrAbsent, ErrTimeout or ErrChecksum. Others, and nil, it returns as they are.
func Meaning(err error) error {
	switch number, _ := errors.AsType[unix.Errno](err); number {
	case unix.ENOENT, unix.ENODEV, unix.ENXIO, unix.EREMOTEIO:
		return fmt.Errorf("%w: %w", ErrAbsent, err)
	case unix.ETIMEDOUT:
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case unix.EBADMSG:
		return fmt.Errorf("%w: %w", ErrChecksum, err)
	}
	return err
}

// ignoringEINTR tries a system call again when a signal came in between, but not for ever.
func ignoringEINTR(call func() (int, error)) (n int, err error) {
	for range 10 {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
	return n, err
}
