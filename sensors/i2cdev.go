package sensors

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// Request numbers, flags and limits of linux/i2c-dev.h and linux/i2c.h.
const (
	i2cFuncs    = 0x0705
	i2cRdwr     = 0x0707
	i2cFuncI2C  = 0x0001
	i2cMsgRead  = 0x0001
	i2cMsgBytes = 8192
)

// i2cMsg is struct i2c_msg; the compiler pads it before the pointer as C does.
type i2cMsg struct {
	addr, flags, length uint16
	buf                 *byte
}

// i2cRdwrData is struct i2c_rdwr_ioctl_data.
type i2cRdwrData struct {
	msgs  *i2cMsg
	nmsgs uint32
}

// i2cPort is an open /dev/i2c-N. It must be used by one goroutine at a time: the bus owner's.
//
// It does what periph's sysfs.I2C does, with two differences. The request that the kernel reads is part of this heap value:
// periph keeps it on the goroutine's stack and hands over its address as a number, so that the kernel reads
// garbage once the stack has moved. And errors keep the kernel's number, by which an absent chip is told from a slow one.
type i2cPort struct {
	fd   int
	name string
	msgs [2]i2cMsg
	data i2cRdwrData
}

var _ i2c.BusCloser = (*i2cPort)(nil)

// openI2CPort opens bus n of the machine whose dev folder lies in root.
func openI2CPort(root string, n int) (i2c.BusCloser, error) {
	path := filepath.Join(root, "dev", fmt.Sprintf("i2c-%d", n))
	fd, err := ignoringEINTR(func() (int, error) { return unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0) })
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return nil, fmt.Errorf("%s does not exist (%s): %w", path, missingBusHint(root, n), ErrAbsent)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %w: %s", path, err, groupHint(path, "i2c"))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	funcs, err := unix.IoctlGetInt(fd, i2cFuncs)
	if err != nil {
		_ = unix.Close(fd) // nothing was written
		return nil, fmt.Errorf("%s: not an i2c bus: %w", path, err)
	}
	if funcs&i2cFuncI2C == 0 {
		_ = unix.Close(fd) // nothing was written
		return nil, fmt.Errorf("%s: the adapter speaks SMBus only, not plain I²C", path)
	}
	return &i2cPort{fd: fd, name: path}, nil
}

// missingBusHint says how to get bus n, and which buses there are.
func missingBusHint(root string, n int) string {
	how := "the adapter is not there: plugged in?"
	switch {
	case n == 1:
		how = "on a Raspberry Pi: sudo raspi-config nonint do_i2c 0, or add dtparam=i2c_arm=on to /boot/firmware/config.txt and reboot"
	case n <= 6: // for these there are overlays
		how = fmt.Sprintf("the adapter is not enabled or unplugged; on a Raspberry Pi add dtoverlay=i2c%d to /boot/firmware/config.txt and reboot", n)
	}
	how += "; elsewhere load the module: sudo modprobe i2c-dev"
	found, err := filepath.Glob(filepath.Join(root, "dev", "i2c-*"))
	if err != nil || len(found) == 0 {
		return how + "; this machine shows no i2c bus at all"
	}
	return how + "; this machine has " + strings.Join(found, ", ")
}

// groupHint says what mends a device file that may not be opened; group is the one that distributions give such files to.
func groupHint(path, group string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil && st.Gid == 0 {
		return fmt.Sprintf("the file belongs to the group root; let udev give it to the group %s, as the rules of Debian's i2c-tools and of Raspberry Pi OS do "+
			"(until the next boot: sudo chgrp %[1]s %[2]s && sudo chmod g+rw %[2]s), and put this user in that group", group, path)
	}
	return fmt.Sprintf("this user must be in the group %s (sudo usermod -aG %[1]s USER, then log in again; under systemd: SupplementaryGroups=%[1]s)", group)
}

// String names the device file.
func (p *i2cPort) String() string { return p.name }

// Tx writes w and then reads r with a repeated start, as one request to the kernel.
func (p *i2cPort) Tx(addr uint16, w, r []byte) error {
	if addr > 0x7f {
		return fmt.Errorf("address 0x%02x: only 7-bit addresses are supported", addr)
	}
	if len(w) > i2cMsgBytes || len(r) > i2cMsgBytes {
		return fmt.Errorf("transfer of %d and %d bytes: the kernel takes at most %d", len(w), len(r), i2cMsgBytes)
	}
	n := 0
	if len(w) > 0 {
		p.msgs[n] = i2cMsg{addr: addr, length: uint16(len(w)), buf: &w[0]}
		n++
	}
	if len(r) > 0 {
		p.msgs[n] = i2cMsg{addr: addr, flags: i2cMsgRead, length: uint16(len(r)), buf: &r[0]}
		n++
	}
	if n == 0 {
		return nil
	}
	p.data = i2cRdwrData{msgs: &p.msgs[0], nmsgs: uint32(n)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.fd), i2cRdwr, uintptr(unsafe.Pointer(&p.data))) //nolint:gosec // i2c-dev takes a pointer
	if errno != 0 {
		return p.failed(errno)
	}
	return nil
}

// failed tells an adapter that was unplugged from a transfer that went wrong. The kernel keeps an adapter half alive until its file is closed, and has numbers
// of all kinds for it (EIO, EOPNOTSUPP). Its file in /dev is gone by then, or is another of the same name because the adapter is back.
func (p *i2cPort) failed(errno unix.Errno) error {
	var ours, now unix.Stat_t
	if unix.Fstat(p.fd, &ours) == nil && (unix.Stat(p.name, &now) != nil || ours.Ino != now.Ino || ours.Dev != now.Dev) {
		return fmt.Errorf("%s is gone, the adapter was unplugged: %w: %w: %w", p.name, ErrAbsent, unix.ENODEV, errno)
	}
	return errno
}

// SetSpeed is refused: the kernel fixes the speed of an adapter.
func (p *i2cPort) SetSpeed(physic.Frequency) error {
	return fmt.Errorf("%s: the speed is set by the kernel (dtparam=i2c_arm_baudrate=)", p.name)
}

// Close closes the device file.
func (p *i2cPort) Close() error {
	if err := unix.Close(p.fd); err != nil {
		return fmt.Errorf("%s: close: %w", p.name, err)
	}
	return nil
}
