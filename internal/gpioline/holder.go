package gpioline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// explain says what a refused request means and what to do about it.
func (l Line) explain(err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return l.held(err)
	case errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s: the chip has no interrupt for this line, so that edges and debounce cannot be had: wire the chip's INT, "+
			"or read the level only, without debounce: %w", l, err)
	case errors.Is(err, unix.ENOTSUP):
		return fmt.Errorf("%s: the chip cannot do what was asked for, such as this bias: %w", l, err)
	}
	return allow(fmt.Errorf("%s: %w", l, err))
}

// held names who holds the line, who may have come since it was looked up.
func (l Line) held(err error) error {
	info := l.Info
	if c, again := ReadChip(l.Chip.Path); again == nil && int(l.Offset) < len(c.Lines) {
		info = c.Lines[l.Offset]
	}
	who := fmt.Sprintf("%q", info.Consumer)
	if info.Consumer == "" {
		who = "another program or driver"
	}
	if p := holder(l.root, l.Chip.Name, l.Offset); p != "" {
		who += " (" + p + ")"
	}
	return fmt.Errorf("%s is held by %s: %s, or choose another pin: %w", l, who, remedy(info.Consumer), err)
}

// remedy says how a line that the consumer holds comes free.
func remedy(consumer string) string {
	const overlay = " out of /boot/firmware/config.txt and reboot"
	begins := func(names ...string) bool {
		for _, n := range names {
			if strings.HasPrefix(strings.ToLower(consumer), n) {
				return true
			}
		}
		return false
	}
	switch {
	case consumer == "", consumer == "kernel":
		return "the kernel uses the pin for a function of its own, take the dtparam= or dtoverlay= of that" + overlay
	case begins("iotagent"):
		return "either two parts of the configuration name one line, or the service runs beside this command " +
			"(iotagent status shows what it reads; systemctl stop iotagent frees the line)"
	case consumer == "sysfs":
		return "it was exported, write its number to /sys/class/gpio/unexport"
	case begins("spi"):
		return "SPI has it as chip select, take dtparam=spi=on" + overlay + ", or use an overlay with fewer selects (dtoverlay=spi0-1cs)"
	case begins("onewire", "w1"):
		return "1-Wire has it, take dtoverlay=w1-gpio" + overlay + " or give it another gpiopin="
	case begins("i2c", "sda", "scl"):
		return "I²C has it, take dtoverlay=i2c-gpio or dtparam=i2c_arm=on" + overlay
	case begins("dht11"):
		return "the kernel's dht11 driver has it, read it as type = \"iio\" or take dtoverlay=dht11" + overlay
	}
	return "stop the program of that name, or if it is a kernel driver, take its dtoverlay= or dtparam=" + overlay
}

// holder names the process that holds the line, "" if none of those that we may look at does. Linux 6.2 and later say so in fdinfo.
func holder(root, chip string, offset uint32) string {
	fds, err := filepath.Glob(filepath.Join(root, "proc/[0-9]*/fd/*"))
	if err != nil {
		return ""
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || !strings.Contains(to, "gpio-line") {
			continue
		}
		process := filepath.Dir(filepath.Dir(fd))
		info, err := os.ReadFile(filepath.Join(process, "fdinfo", filepath.Base(fd)))
		if err != nil || !strings.Contains(string(info), "gpio-chip:\t"+chip+"\n") ||
			!strings.Contains(string(info), "gpio-line:\t"+strconv.Itoa(int(offset))+"\n") {
			continue
		}
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			continue
		}
		return fmt.Sprintf("process %s, %s", filepath.Base(process), strings.TrimSpace(string(name)))
	}
	return ""
}

// allow says how to get the permission that is missing.
func allow(err error) error {
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: its user must be in the group gpio (usermod -aG gpio USER), and the device must belong to that group", err)
	}
	return err
}
