package modbus

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

// tty is a serial port of the kernel.
type tty struct {
	serial.Port

	deadline time.Time
}

var _ serialPort = (*tty)(nil)

// openTTY opens the serial port at path.
func openTTY(path string, a address) (serialPort, error) {
	if err := setRS485(path, a.rs485); err != nil {
		return nil, explained(path, err)
	}
	mode := &serial.Mode{BaudRate: a.baud, DataBits: 8}
	mode.Parity = map[string]serial.Parity{"none": serial.NoParity, "even": serial.EvenParity, "odd": serial.OddParity}[a.parity]
	mode.StopBits = map[int]serial.StopBits{1: serial.OneStopBit, 2: serial.TwoStopBits}[a.stopBits]
	// The library opens without O_CLOEXEC. A program that is started meanwhile would hold the port when we have closed it, and an adapter
	// that is plugged in again then gets another name.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	p, err := serial.Open(path, mode)
	if err != nil {
		return nil, explained(path, err)
	}
	closeOnExec(path)
	return &tty{Port: p}, nil
}

// closeOnExec marks the open files of that path. Where /proc does not show them nothing is lost but what openTTY says.
func closeOnExec(path string) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range open {
		fd, err := strconv.Atoi(e.Name())
		if target, lerr := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && lerr == nil && target == real {
			unix.CloseOnExec(fd)
		}
	}
}

// explained says what to do about a port that does not open.
func explained(path string, err error) error {
	code := serial.PortErrorCode(-1)
	if pe, ok := errors.AsType[*serial.PortError](err); ok {
		code = pe.Code()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s does not exist; is the adapter plugged in (this machine has: %s): %w", path, serialPorts(path), sensors.ErrAbsent)
	case errors.Is(err, fs.ErrPermission), code == serial.PermissionDenied:
		return fmt.Errorf("%s: %w: this user must be in the group dialout (sudo usermod -aG dialout USER, then log in again; "+
			"under systemd: SupplementaryGroups=dialout)", path, err)
	case errors.Is(err, unix.EBUSY), code == serial.PortBusy:
		return fmt.Errorf("%s: another program has it open; sudo fuser -v %s names it: %w", path, path, err)
	case code == serial.InvalidSerialPort:
		return fmt.Errorf("%s is no serial port, or does not take these settings: %w", path, err)
	default:
		return fmt.Errorf("%s: %w", path, err)
	}
}

// serialPorts lists the ports beside path that are likely to be meant.
func serialPorts(path string) string {
	var found []string
	for _, pattern := range []string{"ttyUSB*", "ttyACM*", "ttyAMA*", "serial[0-9]*"} {
		if names, err := filepath.Glob(filepath.Join(filepath.Dir(path), pattern)); err == nil {
			found = append(found, names...)
		}
	}
	if len(found) == 0 {
		return "none"
	}
	return strings.Join(found, ", ")
}

// SetDeadline sets until when Read waits.
func (t *tty) SetDeadline(at time.Time) error {
	t.deadline = at
	return nil
}

// Read returns what has come, at least one byte, or os.ErrDeadlineExceeded.
func (t *tty) Read(p []byte) (int, error) {
	if err := t.SetReadTimeout(max(time.Until(t.deadline), 0)); err != nil {
		return 0, err
	}
	n, err := t.Port.Read(p)
	if n == 0 && err == nil {
		return 0, os.ErrDeadlineExceeded
	}
	return n, err
}

// Write writes all of p.
func (t *tty) Write(p []byte) (int, error) {
	n, err := t.Port.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// Flags of struct serial_rs485 (linux/serial.h).
const (
	rs485Enabled      = 1 << 0
	rs485RTSOnSend    = 1 << 1
	rs485RTSAfterSend = 1 << 2
)

// rs485Settings is struct serial_rs485.
type rs485Settings struct {
	flags, delayBefore, delayAfter uint32
	padding                        [5]uint32
}

// setRS485 has the kernel switch the direction of a transceiver (Documentation/driver-api/serial/serial-rs485.rst). The port
// keeps the setting after it is closed.
func setRS485(path, how string) error {
	if how == "off" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // nothing was written
	s := &rs485Settings{flags: rs485Enabled | rs485RTSOnSend}
	if how == "rts-inverted" {
		s.flags = rs485Enabled | rs485RTSAfterSend
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.TIOCSRS485, uintptr(unsafe.Pointer(s))) //nolint:gosec // how ioctl takes it
	switch errno {
	case 0:
		return nil
	case unix.ENOTTY, unix.EINVAL, unix.ENOTSUP:
		return fmt.Errorf("the port does not switch a transceiver by RTS (%w); USB adapters and boards that do it by themselves need rs485 = \"off\"", errno)
	default:
		return errno
	}
}
