package modbus

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

// terminal returns the master of a pseudo terminal and the path of its other end, which takes the part of a serial port.
func terminal(t *testing.T) (*os.File, string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return master, fmt.Sprintf("/dev/pts/%d", n)
}

// A unit behind a port of the kernel: a first request that finds old bytes in the buffer, and a port that goes away.
func TestKernelPort(t *testing.T) {
	master, path := terminal(t)
	c := unitWith(holding("a_volts", 5), holding("b_volts", 6))
	c.Device, c.Baud, c.ResponseTimeout = path, 115200, millis(30_000)
	served := make(chan error, 1)
	go func() {
		for range 2 {
			frame := make([]byte, 8)
			if _, err := io.ReadFull(master, frame); err != nil {
				served <- err
				return
			}
			if _, err := master.Write(rtuFrame(frame[0], memory(frame[1:6]))); err != nil {
				served <- err
				return
			}
		}
		served <- nil
	}()
	s := open(t, c, sensors.NewHardware("/", nil))
	for range 2 {
		if got, err := valuesOf(t.Context(), s); !slices.Equal(got, []float64{5, 6}) || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := master.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Read(t.Context()); err == nil {
		t.Error("a port that is gone was read")
	}
	if err := s.Halt(); err != nil {
		t.Error(err)
	}
}

func TestPortOfTheKernelTimesOut(t *testing.T) {
	_, path := terminal(t)
	p, err := openTTY(path, address{device: path, baud: 9600, parity: "odd", stopBits: 2, rs485: "off"})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{-time.Second, time.Millisecond} {
		if err := p.SetDeadline(time.Now().Add(d)); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %d, %v", n, err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// A program that is started while the port is open does not get it.
func TestPortIsNotInherited(t *testing.T) {
	_, path := terminal(t)
	p, err := openTTY(path, address{device: path, baud: 9600, parity: "even", stopBits: 1, rs485: "off"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	out, err := exec.CommandContext(t.Context(), "ls", "-l", "/proc/self/fd").Output()
	if err != nil || !strings.Contains(string(out), "->") {
		t.Skipf("cannot list the files of a program: %v", err)
	}
	if strings.Contains(string(out), path+"\n") {
		t.Errorf("a program has the port:\n%s", out)
	}
}

// fullPort takes one byte at a time.
type fullPort struct{ serial.Port }

func (fullPort) Write([]byte) (int, error) { return 1, nil }

func TestShortWrite(t *testing.T) {
	if n, err := (&tty{Port: fullPort{}}).Write([]byte{1, 2}); n != 1 || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Write: %d, %v", n, err)
	}
}

func TestPortsThatDoNotOpen(t *testing.T) {
	_, path := terminal(t)
	plain := t.TempDir() + "/file"
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path, rs485, want string
		is                error
	}{
		{plain + "0", "off", "does not exist; is the adapter plugged in (this machine has: none)", sensors.ErrAbsent},
		{plain + "0", "rts", "does not exist; is the adapter plugged in (this machine has: none)", sensors.ErrAbsent},
		{plain, "off", "is no serial port", nil},
		{path, "rts", `need rs485 = "off"`, unix.ENOTTY},
	} {
		_, err := openTTY(tc.path, address{device: tc.path, baud: 9600, parity: "even", stopBits: 1, rs485: tc.rs485})
		if err == nil || !strings.Contains(err.Error(), tc.want) || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: %v, want it to say %q", tc.path, err, tc.want)
		}
	}
	for err, want := range map[error]string{unix.EBUSY: "another program has it open", unix.EACCES: "group dialout"} {
		if got := explained("/dev/ttyUSB0", err); !strings.Contains(got.Error(), want) || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
}
