package sensors_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"iotagent/sensors"
)

// spiSim is a bus whose chips answer with their chip select and what was sent; it notices two transactions at once.
type spiSim struct {
	inFlight, overlaps atomic.Int32
	mu                 sync.Mutex
	opened             []string
	closed             int
	tx                 func(n sensors.SPIName) error
}

type spiSimPort struct {
	bus  *spiSim
	name sensors.SPIName
}

func (b *spiSim) open(n sensors.SPIName, s sensors.SPISettings) (sensors.SPIPort, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened = append(b.opened, fmt.Sprintf("%s %s", n, s))
	return &spiSimPort{bus: b, name: n}, nil
}

func (p *spiSimPort) Close() error {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	p.bus.closed++
	return nil
}

func (p *spiSimPort) Tx(w, r []byte) error {
	if p.bus.inFlight.Add(1) > 1 {
		p.bus.overlaps.Add(1)
	}
	defer p.bus.inFlight.Add(-1)
	if p.bus.tx != nil {
		if err := p.bus.tx(p.name); err != nil {
			return err
		}
	}
	for i := range r {
		r[i] = w[i] ^ byte(p.name.Select)
	}
	return nil
}

func (b *spiSim) board(t *testing.T) *sensors.Board {
	t.Helper()
	hw := sensors.NewHardware(t.TempDir(), &sensors.HardwareOptions{OpenSPI: b.open})
	t.Cleanup(func() {
		if err := hw.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if b.closed != len(b.opened) {
			t.Errorf("opened %q, closed %d", b.opened, b.closed)
		}
	})
	return hw
}

func openSPI(t *testing.T, hw sensors.Hardware, port string) *sensors.SPIDev {
	t.Helper()
	d, err := sensors.OpenSPI(hw, port, physic.MegaHertz, spi.Mode1)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestThousandCallersOfOneSPIBus(t *testing.T) {
	bus := &spiSim{}
	hw := bus.board(t)
	names := []string{"0.0", "SPI0.1", "spidev0.0", "/dev/spidev0.1"}
	var wg sync.WaitGroup
	for i := range 1000 {
		d := openSPI(t, hw, names[i%4])
		wg.Go(func() {
			grow(i % 50)
			w := binary.BigEndian.AppendUint32(nil, uint32(i))
			r := make([]byte, 4)
			if err := d.Tx(t.Context(), w, r); err != nil {
				t.Errorf("Tx: %v", err)
			}
			for j := range w {
				w[j] ^= byte(i % 2)
			}
			if !bytes.Equal(w, r) {
				t.Errorf("request %d was answered % x, want % x", i, r, w)
			}
		})
	}
	wg.Wait()
	if n := bus.overlaps.Load(); n != 0 || len(bus.opened) != 2 {
		t.Errorf("%d transactions ran beside another, opened %q; want each chip select once", n, bus.opened)
	}
}

func TestSPISettings(t *testing.T) {
	bus := &spiSim{}
	hw := bus.board(t)
	d := openSPI(t, hw, "0.1")
	if err := d.Tx(t.Context(), []byte{1, 2}, nil); err != nil || d.String() != "spi0.1" || bus.opened[0] != "spi0.1 Mode1, at most 1MHz" {
		t.Errorf("%s: %v, opened %q", d, err, bus.opened)
	}
	if err := d.Tx(t.Context(), []byte{1, 2}, make([]byte, 3)); err == nil {
		t.Error("two bytes to send and three to receive went through")
	}
	openSPI(t, hw, "spidev0.1") // the same settings again, as after an error
	for name, try := range map[string]func() (*sensors.SPIDev, error){
		"another mode":  func() (*sensors.SPIDev, error) { return sensors.OpenSPI(hw, "0.1", physic.MegaHertz, spi.Mode0) },
		"another speed": func() (*sensors.SPIDev, error) { return sensors.OpenSPI(hw, "0.1", physic.KiloHertz, spi.Mode1) },
	} {
		if _, err := try(); err == nil || !strings.Contains(err.Error(), "spi0.1: ") || !strings.Contains(err.Error(), "another sensor uses this chip select with Mode1, at most 1MHz") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, try := range map[string]func() (*sensors.SPIDev, error){
		"half duplex": func() (*sensors.SPIDev, error) {
			return sensors.OpenSPI(hw, "0.0", physic.MegaHertz, spi.Mode0|spi.HalfDuplex)
		},
		"no speed":   func() (*sensors.SPIDev, error) { return sensors.OpenSPI(hw, "0.0", 0, spi.Mode0) },
		"no name":    func() (*sensors.SPIDev, error) { return sensors.OpenSPI(hw, "0", physic.MegaHertz, spi.Mode0) },
		"i2c's name": func() (*sensors.SPIDev, error) { return sensors.OpenSPI(hw, "i2c-1", physic.MegaHertz, spi.Mode0) },
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestHangingSPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &spiSim{tx: func(n sensors.SPIName) error {
			if n.Select == 1 {
				time.Sleep(10 * time.Second)
			}
			return nil
		}}
		hw := bus.board(t)
		hangs, beside, other := openSPI(t, hw, "0.1"), openSPI(t, hw, "0.0"), openSPI(t, hw, "1.0")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start, r := time.Now(), make([]byte, 1)
		if err := hangs.Tx(ctx, []byte{7}, r); !errors.Is(err, sensors.ErrTimeout) || time.Since(start) != time.Second {
			t.Errorf("hanging: %v after %s", err, time.Since(start))
		}
		if err := other.Write([]byte{1}); err != nil || time.Since(start) != time.Second {
			t.Errorf("on another bus: %v after %s", err, time.Since(start))
		}
		if err := beside.Write([]byte{1}); !errors.Is(err, sensors.ErrTimeout) || !strings.Contains(err.Error(), "spi0: busy with spi0.1 for 3s") {
			t.Errorf("the other chip select: %v", err)
		}
		time.Sleep(10 * time.Second)
		if err := beside.Write([]byte{1}); err != nil || r[0] != 0 {
			t.Errorf("after the kernel returned: %v; a late answer wrote 0x%02x into the buffer of a caller who had left", err, r[0])
		}
	})
}

func TestSPIIsOpenedAnew(t *testing.T) {
	var fail error
	bus := &spiSim{tx: func(sensors.SPIName) error { return fail }}
	d := openSPI(t, bus.board(t), "0.0")
	fail = unix.ENODEV
	if err := d.Write([]byte{1}); !errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("unplugged: %v", err)
	}
	fail = nil
	if err := d.Write([]byte{1}); err != nil || len(bus.opened) != 2 {
		t.Errorf("plugged in again: %v, opened %q", err, bus.opened)
	}
	fail = unix.EIO
	for range 10 {
		if err := d.Write([]byte{1}); !errors.Is(err, unix.EIO) {
			t.Error(err)
		}
	}
	fail = nil
	if err := d.Write([]byte{1}); err != nil || len(bus.opened) != 3 {
		t.Errorf("after ten failures: %v, opened %q", err, bus.opened)
	}
}

func TestMissingAndForbiddenSPI(t *testing.T) {
	root := t.TempDir()
	hw := sensors.NewHardware(root, nil)
	defer func() {
		if err := hw.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, dir := range []string{"dev", "sys/bus/spi/devices/spi0.1", "sys/bus/spi/devices/spi0.2"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../../drivers/mcp320x", filepath.Join(root, "sys/bus/spi/devices/spi0.1/driver")); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"spidev5.0": 0o000, "spidev5.1": 0o600} {
		if err := os.WriteFile(filepath.Join(root, "dev", name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		port   string
		is     error
		phrase []string
	}{
		{"0.0", sensors.ErrAbsent, []string{"dtparam=spi=on", "raspi-config nonint do_spi 0", "this machine has " + root + "/dev/spidev5.0"}},
		{"0.1", sensors.ErrAbsent, []string{"kernel driver mcp320x has this chip"}},
		{"0.2", sensors.ErrAbsent, []string{"spi0.2/driver_override", "spidev/bind"}},
		{"1.0", sensors.ErrAbsent, []string{"dtoverlay=spi1-1cs"}},
		{"1.2", sensors.ErrAbsent, []string{"dtoverlay=spi1-3cs"}},
		{"5.1", unix.ENOTTY, []string{"not an spi port"}},
		{"5.0", fs.ErrPermission, []string{"group spi"}},
	}
	if os.Getuid() == 0 { // root may open anything
		tests = tests[:len(tests)-1]
	}
	for _, tt := range tests {
		err := openSPI(t, hw, tt.port).Tx(t.Context(), []byte{1}, make([]byte, 1))
		if !errors.Is(err, tt.is) {
			t.Errorf("port %s: %v, want %v", tt.port, err, tt.is)
		}
		for _, p := range tt.phrase {
			if err != nil && !strings.Contains(err.Error(), p) {
				t.Errorf("port %s: %q does not say %q", tt.port, err, p)
			}
		}
	}
}

func TestClosedSPI(t *testing.T) {
	bus := &spiSim{}
	hw := sensors.NewHardware(t.TempDir(), &sensors.HardwareOptions{OpenSPI: bus.open})
	d := openSPI(t, hw, "0.0")
	if err := errors.Join(d.Write([]byte{1}), hw.Close(), hw.Close()); err != nil || bus.closed != 1 {
		t.Errorf("%v, closed %d times", err, bus.closed)
	}
	if err := d.Write([]byte{1}); !errors.Is(err, sensors.ErrClosed) {
		t.Errorf("Tx after Close: %v", err)
	}
	if _, err := hw.SPI("0.0"); !errors.Is(err, sensors.ErrClosed) {
		t.Errorf("SPI after Close: %v", err)
	}
}
