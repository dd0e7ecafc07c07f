package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/sensors"
)

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

// placed is the configuration of a sensor at a place.
type placed struct {
	sensors.Config
	at sensors.Place
}

func (p placed) Place() sensors.Place { return p.at }

// What one sensor's sampler knows of a bus, the first transaction of another sensor heeds.
func TestSamplerAnnouncesItsPlace(t *testing.T) {
	bus := rig()
	bus.root.muxes[0x70].on = 0xff
	bus.root.chips[0x76] = 0x0f
	hw := boardWith(t, bus)
	sensors.NewSampler(sensors.Common{}, placed{at: sensors.Place{I2C: "1/0x70:0", Address: 0x77}}, hw, nil)
	if got, err := id(t, hw, "1", 0x76); got != 0x0f || err != nil || bus.clashes.Load() != 0 {
		t.Errorf("0x%02x, %v, %d clashes; want 0x0f and none", got, err, bus.clashes.Load())
	}
}
