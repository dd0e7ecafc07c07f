package simi2c

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// vhci is the virtual host controller of the kernel.
const vhci = "/sys/devices/platform/vhci_hcd.0"

// Plug is an adapter that is plugged in.
type Plug struct {
	conn net.Conn
	port int
	done chan error
}

// PlugIn plugs the adapter into port n of the kernel's virtual host controller, 0 to 7. The kernel takes a moment to find it: see Bus.
func PlugIn(a *Adapter, n int) (*Plug, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	// Port, socket, bus and device number on the far side (of which there is none), speed (USB_SPEED_FULL).
	order := fmt.Sprintf("%d %d %d %d", n, theirs.Fd(), 1<<16|2, 2)
	err = os.WriteFile(vhci+"/attach", []byte(order), 0) // the file is there
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("plug in (module vhci-hcd): %w", err), ours.Close())
	}
	p := &Plug{conn: ours, port: n, done: make(chan error, 1)}
	go func() { p.done <- (&port{adapter: a, conn: ours}).serve() }()
	return p, nil
}

// socketPair returns two connected stream sockets, the second for the kernel.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	f, theirs := os.NewFile(uintptr(fds[0]), "usbip"), os.NewFile(uintptr(fds[1]), "usbip-kernel")
	ours, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("socketpair: %w", err), theirs.Close())
	}
	return ours, theirs, nil
}

// Unplug pulls the adapter out, and returns once the kernel has hung up. An adapter may be plugged in again.
func (p *Plug) Unplug() error {
	err := os.WriteFile(vhci+"/detach", []byte(strconv.Itoa(p.port)), 0) // the file is there
	if err != nil {
		return errors.Join(fmt.Errorf("unplug: %w", err), p.conn.Close())
	}
	return errors.Join(<-p.done, p.conn.Close())
}

// Bus returns the number of a bus that an adapter of this kind makes, and false while there is none, or none that can be opened.
func Bus() (int, bool) {
	all := Buses()
	if len(all) == 0 {
		return 0, false
	}
	return all[0], true
}

// Buses returns the numbers of all of them.
func Buses() (numbers []int) {
	names, err := filepath.Glob("/sys/bus/i2c/devices/i2c-*/name")
	if err != nil {
		return nil
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(text), "i2c-tiny-usb") {
			continue
		}
		n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(name)), "i2c-"))
		if err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/dev/i2c-%d", n)); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
