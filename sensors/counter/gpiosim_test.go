//go:build gpiosim

package counter

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/internal/gpiosim"
	"iotagent/internal/quantity"
	"iotagent/sensors"
)

// These tests run the driver on a real kernel's lines: test/vm/run.sh.

func openReal(t *testing.T, state string) (*device, error) {
	t.Helper()
	hw := sensors.NewHardware("/", &sensors.HardwareOptions{StateDir: state})
	t.Cleanup(func() {
		if err := hw.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := config(func(c *Config) { c.Pin, c.Debounce = "METER", quantity.Duration{} }).Open(t.Context(), hw)
	if err != nil {
		return nil, err
	}
	return s.(*device), nil
}

// counted waits until so many pulses have been counted: the last are under way when the line has been driven.
func counted(d *device, pulses uint64) {
	for {
		d.mu.Lock()
		n := d.count.pulses
		d.mu.Unlock()
		if n >= pulses {
			return
		}
		runtime.Gosched()
	}
}

// Pulses are counted to the last, over a restart too, and the rate is that of an observer with a clock.
func TestKernelCounts(t *testing.T) {
	c := gpiosim.New(t, "DOOR", "METER")
	state := t.TempDir()
	before := 0.0
	for run, n := range []int{1000, 500} {
		d, err := openReal(t, state)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, d); got[totalName] != before || got[uncertainName] != 0 {
			t.Errorf("run %d begins with %v", run, got)
		}
		c.Pulse(1, 10)
		start := time.Now()
		counted(d, uint64(before)+10)
		read(t, d)
		c.Pulse(1, n-10)
		want := float64(n-10) / time.Since(start).Seconds()
		before += float64(n)
		counted(d, uint64(before))
		got := read(t, d)
		if got[totalName] != before || got[rateName] < want*0.7 || got[rateName] > want*1.3 {
			t.Errorf("run %d: %v, want %g pulses, %g a second", run, got, before, want)
		}
		t.Logf("%g a second, %g by the clock outside", got[rateName], want)
		halt(t, d)
	}
}

func TestKernelHeldByUs(t *testing.T) {
	gpiosim.New(t, "DOOR", "METER")
	d, err := openReal(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_, err = openReal(t, t.TempDir())
	if !errors.Is(err, unix.EBUSY) || errors.Is(err, sensors.ErrAbsent) || !strings.Contains(err.Error(), `held by "iotagent counter"`) {
		t.Errorf("got %v", err)
	}
	halt(t, d)
}

func TestKernelReplugged(t *testing.T) {
	c := gpiosim.New(t, "DOOR", "METER")
	state := t.TempDir()
	d, err := openReal(t, state)
	if err != nil {
		t.Fatal(err)
	}
	c.Pulse(1, 5)
	counted(d, 5)
	c.Unplug()
	if _, err := d.Read(t.Context()); !errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("unplugged: %v", err)
	}
	halt(t, d)
	if _, err := openReal(t, state); !errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("opened while unplugged: %v", err)
	}
	c.Plug()
	if d, err = openReal(t, state); err != nil {
		t.Fatal(err)
	}
	c.Pulse(1, 2)
	counted(d, 7)
	if got := read(t, d); got[totalName] != 7 || got[uncertainName] != 1 {
		t.Errorf("plugged in again: %v", got)
	}
	halt(t, d)
}
