package sensors_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"
	"periph.io/x/conn/v3/physic"

	"iotagent/sensors"
)

// echoBus answers each request with its address and what was written, and notices two transactions at once.
type echoBus struct {
	inFlight, overlaps atomic.Int32
	tx                 func(addr uint16) error
	closed             int
}

func (b *echoBus) String() string                  { return "echo" }
func (b *echoBus) SetSpeed(physic.Frequency) error { return nil }
func (b *echoBus) Close() error                    { b.closed++; return nil }

func (b *echoBus) Tx(addr uint16, w, r []byte) error {
	if b.inFlight.Add(1) > 1 {
		b.overlaps.Add(1)
	}
	defer b.inFlight.Add(-1)
	if b.tx != nil {
		if err := b.tx(addr); err != nil {
			return err
		}
	}
	binary.BigEndian.PutUint16(r, addr)
	copy(r[2:], w)
	return nil
}

func boardWith(t *testing.T, bus i2c.BusCloser) *sensors.Board {
	t.Helper()
	b := sensors.NewHardware(t.TempDir(), &sensors.HardwareOptions{OpenI2C: func(int) (i2c.BusCloser, error) { return bus, nil }})
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// grow moves the goroutine's stack, as a deep call does, so that addresses of stack variables go stale.
func grow(n int) byte {
	var pad [512]byte
	pad[n%len(pad)] = byte(n)
	if n == 0 {
		return pad[0]
	}
	return grow(n-1) + pad[n%len(pad)]
}

func TestThousandCallersOfOneBus(t *testing.T) {
	bus := &echoBus{}
	hw := boardWith(t, bus)
	names := []string{"1", "I2C1", "i2c-1", "/dev/i2c-1"}
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			b, err := hw.I2C(names[i%len(names)])
			if err != nil {
				t.Error(err)
				return
			}
			grow(i % 50)
			addr := uint16(i % 0x80)
			w := binary.BigEndian.AppendUint32(nil, uint32(i))
			var r [6]byte
			if err := sensors.Tx(t.Context(), b, addr, w, r[:]); err != nil {
				t.Errorf("Tx: %v", err)
			}
			if binary.BigEndian.Uint16(r[:]) != addr || binary.BigEndian.Uint32(r[2:]) != uint32(i) {
				t.Errorf("request %d to 0x%02x was answered % x", i, addr, r)
			}
		})
	}
	wg.Wait()
	if n := bus.overlaps.Load(); n != 0 {
		t.Errorf("%d transactions ran beside another", n)
	}
}

func TestHangingTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := &echoBus{tx: func(addr uint16) error {
			if addr == 0x76 {
				time.Sleep(10 * time.Second)
			}
			return nil
		}}
		other := &echoBus{}
		hw := sensors.NewHardware(t.TempDir(), &sensors.HardwareOptions{OpenI2C: func(n int) (i2c.BusCloser, error) {
			return map[int]i2c.BusCloser{1: stuck, 2: other}[n], nil
		}})
		b1, err1 := hw.I2C("1")
		b2, err2 := hw.I2C("2")
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start, r := time.Now(), make([]byte, 4)
		if err := sensors.Tx(ctx, b1, 0x76, nil, r); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != time.Second {
			t.Errorf("hanging Tx: %v after %s, want ErrTimeout after 1 s", err, time.Since(start))
		}
		if err := b2.Tx(0x40, []byte{1, 2}, r); err != nil || time.Since(start) != time.Second {
			t.Errorf("Tx on the other bus: %v after %s, want it at once", err, time.Since(start))
		}
		err := b1.Tx(0x40, nil, make([]byte, 4))
		if !errors.Is(err, sensors.ErrTimeout) || !strings.Contains(err.Error(), "i2c1: busy with 0x76 for 3s") {
			t.Errorf("Tx behind the hanging one: %v, want it to name 0x76", err)
		}
		clear(r)
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if r[0]|r[1] != 0 {
			t.Errorf("a late answer was written into the buffer of a caller who had left: % x", r)
		}
		if err := b1.Tx(0x40, nil, r); err != nil {
			t.Errorf("Tx after the bus came back: %v", err)
		}
		go func() { _ = b1.Tx(0x76, nil, make([]byte, 2)) }()
		synctest.Wait()
		if err := hw.Close(); !errors.Is(err, sensors.ErrTimeout) || !strings.Contains(err.Error(), "0x76") {
			t.Errorf("Close with a hanging transaction: %v", err)
		}
		if err := b1.Tx(0x40, nil, r); !errors.Is(err, sensors.ErrClosed) {
			t.Errorf("Tx after Close: %v", err)
		}
		if _, err := hw.I2C("1"); !errors.Is(err, sensors.ErrClosed) {
			t.Errorf("I2C after Close: %v", err)
		}
		time.Sleep(10 * time.Second) // the kernel returns, and the goroutine that was left behind ends
	})
}

func TestCancelledCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hw := boardWith(t, &echoBus{tx: func(uint16) error { time.Sleep(time.Second); return nil }})
		b, err := hw.I2C("1")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		start := time.Now()
		if err := sensors.Tx(ctx, b, 0x40, nil, make([]byte, 2)); !errors.Is(err, context.Canceled) || time.Since(start) != time.Millisecond {
			t.Errorf("Tx: %v after %s", err, time.Since(start))
		}
	})
}

func TestBusIsOpenedAnew(t *testing.T) {
	tests := map[string]struct {
		err   error
		calls int
		opens int
	}{
		"no acknowledge now and then": {unix.ENXIO, 9, 1},
		"failing for long":            {unix.EIO, 10, 2},
		"adapter unplugged":           {unix.ENODEV, 1, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var fail error
			opens := 0
			bus := &echoBus{tx: func(uint16) error { return fail }}
			hw := sensors.NewHardware(t.TempDir(), &sensors.HardwareOptions{OpenI2C: func(int) (i2c.BusCloser, error) {
				opens++
				return bus, nil
			}})
			b, err := hw.I2C("1")
			if err != nil {
				t.Fatal(err)
			}
			fail = tt.err
			for range tt.calls {
				if err := b.Tx(0x40, nil, make([]byte, 2)); !errors.Is(err, tt.err) {
					t.Errorf("Tx: %v, want %v", err, tt.err)
				}
			}
			fail = nil
			if err := b.Tx(0x40, nil, make([]byte, 2)); err != nil {
				t.Error(err)
			}
			if err := hw.Close(); err != nil || opens != tt.opens || bus.closed != opens {
				t.Errorf("Close: %v, opened %d times, closed %d times, want %d each", err, opens, bus.closed, tt.opens)
			}
		})
	}
}

func TestMissingAndForbiddenBus(t *testing.T) {
	root := t.TempDir()
	hw := sensors.NewHardware(root, nil)
	defer func() {
		if err := hw.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := os.MkdirAll(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dev/i2c-20"), nil, 0o000); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		bus    string
		is     error
		phrase []string
	}{
		{"1", sensors.ErrAbsent, []string{"dtparam=i2c_arm=on", "i2c-dev", "this machine has " + root + "/dev/i2c-20"}},
		{"3", sensors.ErrAbsent, []string{"dtoverlay=i2c3", "/dev/i2c-3 does not exist"}},
	}
	if os.Getuid() != 0 { // root may open anything
		tests = append(tests, tests[0])
		tests[2].bus, tests[2].is, tests[2].phrase = "20", fs.ErrPermission, []string{"group i2c"}
	}
	for _, tt := range tests {
		b, err := hw.I2C(tt.bus)
		if err != nil {
			t.Fatal(err)
		}
		err = b.Tx(0x76, []byte{0xd0}, make([]byte, 1))
		if !errors.Is(err, tt.is) {
			t.Errorf("bus %s: %v, want %v", tt.bus, err, tt.is)
		}
		for _, p := range tt.phrase {
			if !strings.Contains(err.Error(), p) {
				t.Errorf("bus %s: %q does not say %q", tt.bus, err, p)
			}
		}
	}
}

func TestI2CNumber(t *testing.T) {
	for name, want := range map[string]int{"1": 1, "I2C1": 1, "i2c1": 1, "i2c-1": 1, "/dev/i2c-20": 20, "0": 0} {
		if got, err := sensors.I2CNumber(name); got != want || err != nil {
			t.Errorf("I2CNumber(%q) = %d, %v; want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"", "one", "-1", "+1", "i2c", "i2c-", "i2c--1", "/dev/", "/dev/spidev0.0", "70000", "1 "} {
		if got, err := sensors.I2CNumber(name); err == nil {
			t.Errorf("I2CNumber(%q) = %d, want an error", name, got)
		}
	}
}

func TestI2CDev(t *testing.T) {
	for errno, is := range map[error]error{
		unix.ENXIO: sensors.ErrAbsent, unix.EREMOTEIO: sensors.ErrAbsent, unix.ETIMEDOUT: sensors.ErrTimeout, unix.EIO: unix.EIO,
	} {
		dev, err := sensors.OpenI2C(boardWith(t, &echoBus{tx: func(uint16) error { return errno }}), "1", 0x76)
		if err != nil {
			t.Fatal(err)
		}
		if err := dev.Tx(t.Context(), []byte{1}, nil); !errors.Is(err, is) || !errors.Is(err, errno) {
			t.Errorf("%v became %v, want it to wrap %v", errno, err, is)
		}
		if err := dev.Write([]byte{1}); !errors.Is(err, is) {
			t.Errorf("%v became %v, want it to wrap %v", errno, err, is)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := dev.Tx(ctx, []byte{1}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Tx with a cancelled context: %v", err)
		}
		if dev.String() != "i2c1:0x76" {
			t.Errorf("String: %s", dev)
		}
	}
}

func TestChipOfAKernelDriverIsRefused(t *testing.T) {
	bus := &i2ctest.Playback{DontPanic: true}
	hw := boardWith(t, bus)
	dir := filepath.Join(hw.Root(), "sys/bus/i2c/devices/1-0076")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := sensors.OpenI2C(hw, "1", 0x76); err != nil {
		t.Errorf("declared but unbound: %v", err)
	}
	if err := os.Symlink("../../drivers/bmp280", filepath.Join(dir, "driver")); err != nil {
		t.Fatal(err)
	}
	if _, err := sensors.OpenI2C(hw, "i2c-1", 0x76); err == nil || !strings.Contains(err.Error(), "kernel driver bmp280") {
		t.Errorf("bound: %v, want it to name the driver", err)
	}
}

func TestReadAttr(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for text, want := range map[string]string{"42000\n": "42000", "": "", " a b \n\n": "a b"} {
		if got, err := sensors.ReadAttr(write("attr", text)); got != want || err != nil {
			t.Errorf("ReadAttr of %q = %q, %v", text, got, err)
		}
	}
	if _, err := sensors.ReadAttr(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := sensors.ReadAttr(dir); !errors.Is(err, unix.EISDIR) {
		t.Errorf("folder: %v", err)
	}
	if got, err := sensors.ReadAttr(write("long", strings.Repeat("x", 20_000))); err == nil {
		t.Errorf("a file that does not fit gave %d characters and no error", len(got))
	}
}
