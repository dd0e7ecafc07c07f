//go:build vmguest

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"iotagent/sensors"
	"iotagent/test/vm/simi2c"
)

// A thousand readers at once on one bus, each of them after other bytes, and some after a chip that is not there. Every answer is the
// right one: a request that the kernel reads from memory that has moved would bring another's bytes, or an error.
func TestKernelThousandReaders(t *testing.T) {
	b := newBench(t)
	board := sensors.NewHardware("/", nil)
	rounds := 1
	if os.Getenv("VM_LONG") != "" {
		rounds = 20
	}
	for range rounds {
		before := b.adapter.Transfers()
		for _, wrong := range storm(t.Context(), board, strconv.Itoa(b.bus)) {
			t.Error(wrong)
		}
		t.Logf("%d transfers", b.adapter.Transfers()-before)
	}
	if err := board.Close(); err != nil {
		t.Error(err)
	}
}

// The control: the same storm on a bus that gives the kernel the place of a request on a stack must go wrong.
func TestKernelThousandReadersControl(t *testing.T) {
	if os.Getenv("VM_LONG") == "" {
		t.Skip("takes long: VM_LONG=1")
	}
	b := newBench(t)
	board := sensors.NewHardware("/", nil)
	bus, err := openCareless(b.bus)
	if err != nil {
		t.Fatal(err)
	}
	wrong := storm(t.Context(), carelessBoard{board, bus}, strconv.Itoa(b.bus))
	if err := errors.Join(bus.Close(), board.Close()); err != nil {
		t.Error(err)
	}
	if len(wrong) == 0 {
		t.Fatal("nothing went wrong, so the other storm shows nothing")
	}
	t.Logf("%d wrong, the first: %v", len(wrong), wrong[0])
}

// storm returns what went wrong.
func storm(ctx context.Context, hw sensors.Hardware, bus string) (wrong []error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range 1000 {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			err := reader(ctx, hw, bus, i)
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			wrong = append(wrong, fmt.Errorf("reader %d: %w", i, err))
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return wrong
}

// reader reads 1 to 16 bytes of the memory, from an address of its own; every fiftieth asks nobody.
func reader(ctx context.Context, hw sensors.Hardware, bus string, i int) error {
	if i%50 == 49 {
		dev, err := sensors.OpenI2C(hw, bus, 0x33)
		if err != nil {
			return err
		}
		if err := dev.Tx(ctx, []byte{0}, make([]byte, 1)); !errors.Is(err, sensors.ErrAbsent) {
			return fmt.Errorf("a chip that is not there: %w", err)
		}
		return nil
	}
	dev, err := sensors.OpenI2C(hw, bus, addrEEPROM)
	if err != nil {
		return err
	}
	at, got := byte(i), make([]byte, 1+i%16)
	if err := dev.Tx(ctx, []byte{at}, got); err != nil {
		return err
	}
	for n, v := range got {
		if want := simi2c.Byte(at + byte(n)); v != want {
			return fmt.Errorf("byte %d is 0x%02x without an error, want 0x%02x", n, v, want)
		}
	}
	return nil
}
