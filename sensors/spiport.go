package sensors

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/physic"
)

// Request numbers of linux/spi/spidev.h, as asm-generic/ioctl.h makes them: direction, size, 'k' and a number.
const (
	spiWrite, spiRead = 1 << 30, 2 << 30
	spiMessage1       = spiWrite | 32<<16 | 'k'<<8
	spiMode           = 1<<16 | 'k'<<8 | 1
	spiBitsPerWord    = 1<<16 | 'k'<<8 | 3
	spiMaxSpeed       = 4<<16 | 'k'<<8 | 4

	spiModeMask   = 0x03
	spiCSHigh     = 0x04
	spiMostBytes  = 4096 // of one transfer: spidev's bufsiz, unless it was loaded with another
	spiBitsOfByte = 8
)

// spiTransfer is struct spi_ioc_transfer. It carries addresses as numbers, on 32-bit machines, too.
type spiTransfer struct {
	tx, rx    uint64
	length    uint32
	speed     uint32
	delay     uint16
	bits      uint8
	csChange  uint8
	txNbits   uint8
	rxNbits   uint8
	wordDelay uint8
	_         uint8
}

// spidevPort is an open /dev/spidevB.C. It must be used by one goroutine at a time: the bus owner's.
//
// It does what periph's sysfs.SPI does, but what the kernel reads never moves: the request is part of this heap value, and the buffers, whose
// addresses the kernel takes as numbers that the garbage collector doesn't see, are pinned meanwhile. Periph turns the address of
// a stack variable into a number before it waits for a lock.
type spidevPort struct {
	fd       int
	name     string
	transfer spiTransfer
	pins     runtime.Pinner
}

var _ SPIPort = (*spidevPort)(nil)

// openSPIPort opens the chip select of the machine whose dev and sys lie in root, and sets it.
func openSPIPort(root string, n SPIName, s SPISettings) (SPIPort, error) {
	path := filepath.Join(root, "dev", fmt.Sprintf("spidev%d.%d", n.Bus, n.Select))
	fd, err := ignoringEINTR(func() (int, error) { return unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0) })
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return nil, fmt.Errorf("%s does not exist (%s): %w", path, missingSPIHint(root, n), ErrAbsent)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %w: %s", path, err, groupHint(path, "spi"))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p := &spidevPort{fd: fd, name: path}
	if err := p.set(s); err != nil {
		_ = p.Close() // nothing was written
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// set sets mode, word and speed. The kernel keeps what an earlier program left, so each is set; only the polarity of the chip select is
// the machine's business.
func (p *spidevPort) set(s SPISettings) error {
	var mode uint8
	if err := p.ioctl(spiRead|spiMode, unsafe.Pointer(&mode)); err != nil { //nolint:gosec // spidev takes a pointer
		return fmt.Errorf("not an spi port: %w", err)
	}
	mode = mode&spiCSHigh | uint8(s.Mode)&spiModeMask
	if err := p.ioctl(spiWrite|spiMode, unsafe.Pointer(&mode)); err != nil { //nolint:gosec // see above
		return fmt.Errorf("set %s: %w", s.Mode, err)
	}
	bits := uint8(spiBitsOfByte)
	if err := p.ioctl(spiWrite|spiBitsPerWord, unsafe.Pointer(&bits)); err != nil { //nolint:gosec // see above
		return fmt.Errorf("set 8 bits a word: %w", err)
	}
	hz := uint32(min(s.MaxSpeed/physic.Hertz, 1<<31))
	if err := p.ioctl(spiWrite|spiMaxSpeed, unsafe.Pointer(&hz)); err != nil { //nolint:gosec // see above
		return fmt.Errorf("set %s: %w", s.MaxSpeed, err)
	}
	p.transfer.speed, p.transfer.bits = hz, spiBitsOfByte
	return nil
}

func (p *spidevPort) ioctl(request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// Tx sends w and receives as many bytes into r, with the chip selected from the first bit to the last. Either may be empty: zeros are sent then, or what comes is
// thrown away.
func (p *spidevPort) Tx(w, r []byte) error {
	n := max(len(w), len(r))
	switch {
	case n == 0:
		return nil
	case n > spiMostBytes:
		return fmt.Errorf("transfer of %d bytes: the kernel takes at most %d", n, spiMostBytes)
	case len(w) > 0 && len(r) > 0 && len(w) != len(r):
		return fmt.Errorf("%d bytes to send and %d to receive", len(w), len(r))
	}
	defer p.pins.Unpin()
	p.transfer.length, p.transfer.tx, p.transfer.rx = uint32(n), p.pinned(w), p.pinned(r)
	err := p.ioctl(spiMessage1, unsafe.Pointer(&p.transfer)) //nolint:gosec // see above
	if err == nil {
		return nil
	}
	if _, gone := os.Stat(p.name); errors.Is(gone, fs.ErrNotExist) {
		return fmt.Errorf("%s is gone, the adapter was unplugged: %w: %w", p.name, unix.ENODEV, err)
	}
	return err
}

// pinned returns the address of the bytes, which stay there until Unpin.
func (p *spidevPort) pinned(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	p.pins.Pin(&b[0])
	return uint64(uintptr(unsafe.Pointer(&b[0]))) //nolint:gosec // spidev takes the address as a number
}

// Close closes the device file.
func (p *spidevPort) Close() error {
	if err := unix.Close(p.fd); err != nil {
		return fmt.Errorf("%s: close: %w", p.name, err)
	}
	return nil
}

// missingSPIHint says how to get a chip select, and which there are.
func missingSPIHint(root string, n SPIName) string {
	device := fmt.Sprintf("/sys/bus/spi/devices/%s", n)
	if driver := boundTo(filepath.Join(root, device)); driver != "" && driver != "spidev" {
		return fmt.Sprintf("the kernel driver %s has this chip: read it through the kernel, or take its overlay out of config.txt", driver)
	}
	var how string
	if _, err := os.Stat(filepath.Join(root, device)); err == nil {
		how = fmt.Sprintf("the kernel knows the chip select but gives it to nobody: echo spidev | sudo tee %[1]s/driver_override && echo %[2]s | sudo tee /sys/bus/spi/drivers/spidev/bind", device, n)
	} else if n.Bus == 0 {
		how = "on a Raspberry Pi: sudo raspi-config nonint do_spi 0, or add dtparam=spi=on to /boot/firmware/config.txt and reboot"
	} else {
		how = fmt.Sprintf("on a Raspberry Pi add dtoverlay=spi%d-%dcs to /boot/firmware/config.txt and reboot", n.Bus, min(n.Select+1, 3))
	}
	found, err := filepath.Glob(filepath.Join(root, "dev", "spidev*"))
	if err != nil || len(found) == 0 {
		return how + "; this machine shows no spi port at all"
	}
	return how + "; this machine has " + strings.Join(found, ", ")
}
