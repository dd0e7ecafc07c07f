package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"iotagent/sensors"
)

// segment is a piece of a simulated bus: the chips and multiplexers that are joined without a switch.
type segment struct {
	chips map[uint16]byte // what each answers
	muxes map[uint16]*simMux
}

// simMux is a TCA9548A.
type simMux struct {
	on       byte
	channels [8]segment
	deaf     error // what it answers with, nil when it works
}

// simBus answers as the chips that hear the address do: lines are pulled low by any of them, so several answers are and-ed together.
type simBus struct {
	root     segment
	inFlight atomic.Int32
	overlaps atomic.Int32
	clashes  atomic.Int32
	fail     func(addr uint16, w []byte) error
	log      []string
}

func (b *simBus) String() string                  { return "sim" }
func (b *simBus) SetSpeed(physic.Frequency) error { return nil }
func (b *simBus) Close() error                    { return nil }

func (b *simBus) Tx(addr uint16, w, r []byte) error {
	if b.inFlight.Add(1) > 1 {
		b.overlaps.Add(1)
	}
	defer b.inFlight.Add(-1)
	b.log = append(b.log, fmt.Sprintf("%02x:%x", addr, w))
	if b.fail != nil {
		if err := b.fail(addr, w); err != nil {
			return err
		}
	}
	for i := range r {
		r[i] = 0xff
	}
	answers, err := b.root.hear(addr, w, r)
	if answers > 1 {
		b.clashes.Add(1)
	}
	if answers == 0 && err == nil {
		err = unix.ENXIO
	}
	return err
}

// hear lets everybody who is connected hear a transaction. The channels switch at its end.
func (s *segment) hear(addr uint16, w, r []byte) (answers int, err error) {
	if value, ok := s.chips[addr]; ok {
		answers++
		for i := range r {
			r[i] &= value
		}
	}
	for a, m := range s.muxes {
		for i := range m.channels {
			if m.on&(1<<i) != 0 {
				n, e := m.channels[i].hear(addr, w, r)
				answers, err = answers+n, errors.Join(err, e)
			}
		}
		switch {
		case a != addr:
		case m.deaf != nil:
			err = errors.Join(err, m.deaf)
		default:
			answers++
			if len(w) == 1 {
				m.on = w[0]
			}
		}
	}
	return answers, err
}

// rig is a bus with a multiplexer of eight chips with the same address, one of them behind another multiplexer.
func rig() *simBus {
	outer, inner := &simMux{}, &simMux{}
	for i := range outer.channels {
		outer.channels[i] = segment{chips: map[uint16]byte{0x76: byte(0x10 + i)}}
		inner.channels[i] = segment{chips: map[uint16]byte{0x77: byte(0x20 + i)}}
	}
	outer.channels[3].muxes = map[uint16]*simMux{0x71: inner}
	return &simBus{root: segment{chips: map[uint16]byte{0x40: 0x01}, muxes: map[uint16]*simMux{0x70: outer}}}
}

// id reads the chip at addr of the named bus.
func id(t *testing.T, hw sensors.Hardware, bus string, addr uint16) (byte, error) {
	t.Helper()
	d, err := sensors.OpenI2C(hw, bus, addr)
	if err != nil {
		t.Fatal(err)
	}
	var r [1]byte
	err = d.Tx(t.Context(), []byte{0xd0}, r[:])
	return r[0], err
}

func TestMultiplexer(t *testing.T) {
	bus := rig()
	hw := boardWith(t, bus)
	bus.root.muxes[0x70].on = 0xff // as a process left it that was killed
	for _, tt := range []struct {
		bus  string
		addr uint16
		want byte
		log  []string
	}{
		{"1", 0x40, 0x01, []string{"40:d0"}},
		{"1/0x70:5", 0x76, 0x15, []string{"70:00", "70:20", "76:d0", "70:00"}},
		{"i2c-1/0x70:3", 0x76, 0x13, []string{"70:08", "76:d0", "70:00"}},
		{"1/0x70:3/0x71:6", 0x77, 0x26, []string{"70:08", "71:00", "70:00", "70:08", "71:40", "77:d0", "71:00", "70:00"}},
		{"1/0x70:3/0x71:0", 0x77, 0x20, []string{"70:08", "71:01", "77:d0", "71:00", "70:00"}},
		{"1", 0x40, 0x01, []string{"40:d0"}},
	} {
		bus.log = nil
		got, err := id(t, hw, tt.bus, tt.addr)
		if got != tt.want || err != nil || !slices.Equal(bus.log, tt.log) {
			t.Errorf("%s:0x%02x answered 0x%02x, %v by %q; want 0x%02x by %q", tt.bus, tt.addr, got, err, bus.log, tt.want, tt.log)
		}
	}
	if n := bus.clashes.Load(); n != 0 {
		t.Errorf("%d times two chips answered", n)
	}
}

// A multiplexer that was lent is switched off before the first transaction with any chip of the bus.
func TestMultiplexerIsOffBeforeTheFirstTransaction(t *testing.T) {
	bus := rig()
	bus.root.muxes[0x70].on = 0xff
	bus.root.chips[0x76] = 0x0f
	hw := boardWith(t, bus)
	if _, err := hw.I2C("1/0x70:0"); err != nil {
		t.Fatal(err)
	}
	if got, err := id(t, hw, "1", 0x76); got != 0x0f || err != nil || bus.clashes.Load() != 0 {
		t.Errorf("0x%02x, %v, %d clashes; want 0x0f and none", got, err, bus.clashes.Load())
	}
}

func TestThousandCallersThroughMultiplexers(t *testing.T) {
	bus := rig()
	var n atomic.Int32
	bus.fail = func(uint16, []byte) error { // now and then a transaction is lost, whichever it is
		if n.Add(1)%7 == 0 {
			return unix.EIO
		}
		return nil
	}
	hw := boardWith(t, bus)
	var wg sync.WaitGroup
	var right atomic.Int32
	for i := range 1000 {
		wg.Go(func() {
			c := i % 8
			name, addr, want := fmt.Sprintf("1/0x70:%d", c), uint16(0x76), byte(0x10+c)
			switch i % 3 {
			case 1:
				name, addr, want = fmt.Sprintf("1/0x70:3/0x71:%d", c), 0x77, byte(0x20+c)
			case 2:
				name, addr, want = "1", 0x40, 0x01
			}
			grow(i % 50)
			switch got, err := id(t, hw, name, addr); {
			case err == nil && got != want:
				t.Errorf("%s:0x%02x answered 0x%02x, want 0x%02x", name, addr, got, want)
			case err == nil:
				right.Add(1)
			case !errors.Is(err, unix.EIO):
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	if bus.overlaps.Load() != 0 || bus.clashes.Load() != 0 || right.Load() < 200 {
		t.Errorf("%d overlaps, %d clashes, %d right answers", bus.overlaps.Load(), bus.clashes.Load(), right.Load())
	}
}

func TestMultiplexerThatFails(t *testing.T) {
	bus := rig()
	hw := boardWith(t, bus)
	mux := bus.root.muxes[0x70]
	if _, err := id(t, hw, "1/0x70:2", 0x76); err != nil {
		t.Fatal(err)
	}

	// It is unplugged: those behind it are absent, the others go on.
	bus.root.muxes = nil
	if _, err := id(t, hw, "1/0x70:2", 0x76); !errors.Is(err, sensors.ErrAbsent) || !strings.Contains(err.Error(), "multiplexer 0x70 does not take its channel 2") {
		t.Errorf("behind an absent multiplexer: %v", err)
	}
	if got, err := id(t, hw, "1", 0x40); got != 0x01 || err != nil {
		t.Errorf("beside an absent multiplexer: 0x%02x, %v", got, err)
	}

	// It comes back with all channels on, and is switched off before the next.
	bus.root.muxes = map[uint16]*simMux{0x70: mux}
	mux.on = 0xff
	bus.root.chips[0x76] = 0x0f
	if got, err := id(t, hw, "1", 0x76); got != 0x0f || err != nil {
		t.Errorf("beside a multiplexer that came back: 0x%02x, %v", got, err)
	}
	delete(bus.root.chips, 0x76)

	// It stops answering in the middle, in a way that does not show whether it is there: nobody may rely on what answers.
	bus.fail = func(addr uint16, w []byte) error {
		if addr == 0x70 && w[0] == 0 {
			return unix.EIO
		}
		return nil
	}
	if got, err := id(t, hw, "1/0x70:4", 0x76); got != 0x14 || err != nil {
		t.Errorf("the reading before the fault: 0x%02x, %v", got, err)
	}
	if _, err := id(t, hw, "1", 0x40); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "multiplexer 0x70 does not confirm that it is off") {
		t.Errorf("beside a multiplexer in doubt: %v, want it refused", err)
	}
	bus.fail = nil
	if got, err := id(t, hw, "1", 0x40); got != 0x01 || err != nil || mux.on != 0 {
		t.Errorf("after the fault: 0x%02x, %v, channels 0x%02x", got, err, mux.on)
	}
}

// Whatever fails at whichever of the five steps, and however often, the reading is right or an error, and so is the next one.
func TestMultiplexerAfterAnErrorAtEveryStep(t *testing.T) {
	const bus37 = "1/0x70:3/0x71:6"
	for step := range 5 {
		for times := 1; times <= 4; times++ {
			for _, errno := range []error{unix.ENXIO, unix.EIO, unix.ETIMEDOUT} {
				bus := rig()
				hw := boardWith(t, bus)
				if _, err := id(t, hw, bus37, 0x77); err != nil {
					t.Fatal(err)
				}
				n := 0
				bus.fail = func(uint16, []byte) error {
					if n++; n > step && n <= step+times {
						return errno
					}
					return nil
				}
				got, err := id(t, hw, bus37, 0x77)
				if (err != nil) != (step < 3) || err == nil && got != 0x26 {
					t.Errorf("%v, %d times from step %d: 0x%02x, %v; want an error only of the first three", errno, times, step, got, err)
				}
				outer := bus.root.muxes[0x70]
				if inner := outer.channels[3].muxes[0x71]; times == 1 && outer.on|inner.on != 0 {
					t.Errorf("%v at step %d: the channels 0x%02x and 0x%02x stayed on", errno, step, outer.on, inner.on)
				}
				bus.fail = nil
				bus.root.chips[0x76] = 0x0f // answers with those behind the multiplexers, if one is on
				if got, err := id(t, hw, "1", 0x76); got != 0x0f || err != nil || bus.clashes.Load() != 0 {
					t.Errorf("%v, %d times from step %d: the next reading is 0x%02x, %v", errno, times, step, got, err)
				}
			}
		}
	}
}

func TestHangingBehindAMultiplexer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := rig()
		bus.fail = func(addr uint16, _ []byte) error {
			if addr == 0x76 {
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		hw := boardWith(t, bus)
		near, err := sensors.OpenI2C(hw, "1", 0x40)
		if err != nil {
			t.Fatal(err)
		}
		far, err := sensors.OpenI2C(hw, "1/0x70:3", 0x76)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := far.Tx(ctx, []byte{0xd0}, make([]byte, 1)); !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("hanging: %v", err)
		}
		if err := near.Write([]byte{1}); !errors.Is(err, sensors.ErrTimeout) || !strings.Contains(err.Error(), "i2c1: busy with 0x70:3/0x76 for 3s") {
			t.Errorf("behind the hanging one: %v", err)
		}
		time.Sleep(10 * time.Second)
		if err := near.Write([]byte{1}); err != nil || bus.root.muxes[0x70].on != 0 {
			t.Errorf("after the kernel returned: %v, channels 0x%02x", err, bus.root.muxes[0x70].on)
		}
	})
}

func TestHeldLines(t *testing.T) {
	for _, errno := range []error{unix.ETIMEDOUT, unix.EAGAIN, unix.EBUSY} {
		var fail error
		hw := boardWith(t, &echoBus{tx: func(uint16) error { return fail }})
		b, err := hw.I2C("1")
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range []error{errno, errno, nil, errno, errno, errno, errno} {
			fail = e
			err := b.Tx(0x40, nil, make([]byte, 2))
			if told := err != nil && strings.Contains(err.Error(), "held low"); told != (i >= 5) || !errors.Is(err, e) {
				t.Errorf("%v, transaction %d: %v", errno, i, err)
			}
		}
	}
}

func TestMultiplexerOfTheKernelIsRefused(t *testing.T) {
	hw := boardWith(t, rig())
	link := func(to, name string) {
		t.Helper()
		path := filepath.Join(hw.Root(), "sys/bus/i2c/devices", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	link("../../drivers/pca954x", "1-0070/driver")
	link("../../../i2c-1/i2c-14", "1-0070/channel-3")
	link("../../drivers/bmp280", "1-0076/driver")
	for bus, want := range map[string]string{
		"1/0x70:3":        `kernel driver pca954x has the multiplexer: its channel 3 is a bus of its own, write bus = "14"`,
		"1/0x70:3/0x71:6": `write bus = "14/0x71:6"`,
		"1/0x70:4":        "ls /dev/i2c-*",
		"1/0x72:0":        "kernel driver bmp280 has a chip with this address before the multiplexer",
		"1/0x76:0":        "has this address itself",
		"1":               "kernel driver bmp280 has this chip",
	} {
		if _, err := sensors.OpenI2C(hw, bus, 0x76); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", bus, err, want)
		}
	}
}

func TestBusByName(t *testing.T) {
	root, opened := t.TempDir(), []int{}
	hw := sensors.NewHardware(root, &sensors.HardwareOptions{OpenI2C: func(n int) (i2c.BusCloser, error) {
		opened = append(opened, n)
		return &echoBus{tx: func(addr uint16) error {
			if addr == 0x7f {
				return unix.ENODEV
			}
			return nil
		}}, nil
	}})
	defer func() {
		if err := hw.Close(); err != nil {
			t.Error(err)
		}
	}()
	adapters := func(names map[int]string) {
		t.Helper()
		dir := filepath.Join(root, "sys/bus/i2c/devices")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		for n, name := range names {
			bus := filepath.Join(dir, fmt.Sprintf("i2c-%d", n))
			if err := os.MkdirAll(bus, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(bus, "name"), []byte(name+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	open := func() (*sensors.I2CDev, error) { return sensors.OpenI2C(hw, "name:i2c-tiny-usb", 0x40) }
	adapters(map[int]string{1: "bcm2835 (i2c@7e804000)"})
	if _, err := open(); !errors.Is(err, sensors.ErrAbsent) || !strings.Contains(err.Error(), `this machine has i2c-1 "bcm2835 (i2c@7e804000)"`) && !strings.Contains(err.Error(), `This machine has i2c-1`) {
		t.Errorf("without it: %v", err)
	}
	adapters(map[int]string{1: "bcm2835", 7: "i2c-tiny-usb at bus 001 device 002"})
	d, err := open()
	if err != nil || d.String() != "name:i2c-tiny-usb:0x40" {
		t.Fatal(d, err)
	}
	if err := d.Tx(t.Context(), []byte{1}, make([]byte, 2)); err != nil {
		t.Error(err)
	}
	b, err := hw.I2C("name:i2c-tiny-usb")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Tx(0x7f, []byte{1}, make([]byte, 2)); !errors.Is(err, unix.ENODEV) {
		t.Error(err)
	}
	adapters(map[int]string{1: "bcm2835"})
	if err := d.Tx(t.Context(), []byte{1}, make([]byte, 2)); !errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("unplugged: %v", err)
	}
	adapters(map[int]string{1: "bcm2835", 9: "i2c-tiny-usb at bus 001 device 003"})
	if err := d.Tx(t.Context(), []byte{1}, make([]byte, 2)); err != nil || !slices.Equal(opened, []int{7, 9}) {
		t.Errorf("plugged in again: %v, opened %v, want 7 and 9", err, opened)
	}
	adapters(map[int]string{2: "i2c-tiny-usb", 7: "i2c-tiny-usb at bus 001 device 002"})
	if d, err := open(); err != nil || d == nil {
		t.Errorf("a name that is the whole of one: %v", err)
	}
	adapters(map[int]string{3: "i2c-tiny-usb at bus 001 device 004", 7: "i2c-tiny-usb at bus 001 device 002"})
	if _, err := open(); err == nil || errors.Is(err, sensors.ErrAbsent) || !strings.Contains(err.Error(), "i2c-3 and i2c-7") {
		t.Errorf("two of them: %v", err)
	}
}
