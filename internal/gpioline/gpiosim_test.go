//go:build gpiosim

package gpioline

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/internal/gpiosim"
)

// These tests need a kernel with gpio-sim and configfs, and root: test/vm/run.sh runs them in a virtual machine.

// simChip is a chip with the lines DOOR and METER and two without names.
type simChip struct {
	*gpiosim.Chip
	t *testing.T
}

func newSimChip(t *testing.T) *simChip {
	t.Helper()
	return &simChip{Chip: gpiosim.New(t, "DOOR", "METER"), t: t}
}

func (c *simChip) take(name string, o InputOptions) *Input {
	c.t.Helper()
	l, err := Find("/", name)
	if err != nil {
		c.t.Fatal(err)
	}
	in, err := TakeInput(l, o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = in.Close() }) // some tests have done so
	return in
}

// info is what the kernel says of a line.
func (c *simChip) info(line int) Info {
	c.t.Helper()
	chip, err := ReadChip("/dev/" + c.Device)
	if err != nil {
		c.t.Fatal(err)
	}
	return chip.Lines[line]
}

// events waits until n events have come.
func events(t *testing.T, in *Input, n int) []Event {
	t.Helper()
	var got []Event
	for len(got) < n {
		var err error
		if got, err = in.Wait(got); err != nil {
			t.Fatalf("after %d of %d events: %v", len(got), n, err)
		}
	}
	return got
}

func now(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

func TestKernelInputLevels(t *testing.T) {
	c := newSimChip(t)
	plain := c.take("DOOR", InputOptions{Consumer: "iotagent test"})
	low := c.take("testchip:1", InputOptions{Consumer: "low", Flags: FlagActiveLow})
	for _, level := range []string{"up", "down", "up"} {
		c.Pull(0, level)
		c.Pull(1, level)
		if got, err := plain.Active(); got != (level == "up") || err != nil {
			t.Errorf("%s: %v, %v", level, got, err)
		}
		if got, err := low.Active(); got != (level == "down") || err != nil {
			t.Errorf("active low, %s: %v, %v", level, got, err)
		}
	}
	if got := c.info(0); got.Consumer != "iotagent test" || got.Flags != FlagUsed|FlagInput {
		t.Errorf("line 0: %+v", got)
	}
	if got := c.info(2); got.Flags&FlagUsed != 0 {
		t.Errorf("a line that nobody asked for: %+v", got)
	}
	if err := plain.Close(); err != nil {
		t.Error(err)
	}
	if got := c.info(0); got.Flags&FlagUsed != 0 {
		t.Errorf("line 0 after Close: %+v", got)
	}
}

// Looking for lines takes none of them and changes none.
func TestKernelFindChangesNothing(t *testing.T) {
	c := newSimChip(t)
	before, err := ReadChip("/dev/" + c.Device)
	if err != nil {
		t.Fatal(err)
	}
	for name, echo := range map[string]string{
		"DOOR": "DOOR (%s:0)", "%s:1": "METER (%s:1)", "/dev/%s:3": "testchip:3 (%s:3)", "testchip:2": "testchip:2 (%s:2)", "testchip:DOOR": "DOOR (%s:0)",
	} {
		name, echo = strings.ReplaceAll(name, "%s", c.Device), strings.ReplaceAll(echo, "%s", c.Device)
		if l, err := Find("/", name); err != nil || l.String() != echo {
			t.Errorf("%s: %s, %v; want %s", name, l, err, echo)
		}
	}
	after, err := ReadChip("/dev/" + c.Device)
	if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%v, then %v, %v", before, after, err)
	}
}

func TestKernelBias(t *testing.T) {
	c := newSimChip(t)
	for bias, level := range map[uint64]bool{FlagBiasPullUp: true, FlagBiasPullDown: false} {
		in := c.take("DOOR", InputOptions{Flags: bias})
		if got, err := in.Active(); got != level || err != nil {
			t.Errorf("bias %b: %v, %v", bias, got, err)
		}
		if got := c.info(0); got.Flags&bias == 0 {
			t.Errorf("bias %b: %+v", bias, got)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Edges come in order, each with a time between those of what made it, and number themselves.
func TestKernelEdges(t *testing.T) {
	c := newSimChip(t)
	in := c.take("DOOR", InputOptions{Flags: FlagEdgeRising | FlagEdgeFalling})
	var before, after []int64
	var got []Event
	for i := range 6 {
		before = append(before, now(t))
		c.Pull(0, []string{"up", "down"}[i%2])
		got = append(got, events(t, in, 1)...)
		after = append(after, now(t))
	}
	for i, e := range got {
		if e.Rising != (i%2 == 0) || e.Seq != uint32(i+1) || e.Nanoseconds < before[i] || e.Nanoseconds > after[i] {
			t.Errorf("edge %d of %d: %+v, made between %d and %d", i+1, len(got), e, before[i], after[i])
		}
	}
	low := c.take("METER", InputOptions{Flags: FlagEdgeRising | FlagActiveLow | FlagBiasPullUp})
	c.Pull(1, "down")
	c.Pull(1, "up")
	c.Pull(1, "down")
	for i, e := range events(t, low, 2) {
		if !e.Rising || e.Seq != uint32(i+1) {
			t.Errorf("active low: edge %d: %+v", i+1, e)
		}
	}
}

func TestKernelThousandPulses(t *testing.T) {
	c := newSimChip(t)
	in := c.take("METER", InputOptions{Flags: FlagEdgeRising})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Pulse(1, 1000)
	}()
	got := events(t, in, 1000)
	<-done
	for i, e := range got {
		if !e.Rising || e.Seq != uint32(i+1) || i > 0 && e.Nanoseconds <= got[i-1].Nanoseconds {
			t.Fatalf("pulse %d: %+v", i+1, e)
		}
	}
	t.Logf("%d pulses in %s", len(got), time.Duration(got[999].Nanoseconds-got[0].Nanoseconds))
	if len(got) != 1000 {
		t.Errorf("%d pulses, want 1000", len(got))
	}
}

// Nobody reads while 1100 pulses come: the kernel keeps the last 1024, and their numbers say how many are gone.
func TestKernelOverflow(t *testing.T) {
	c := newSimChip(t)
	in := c.take("METER", InputOptions{Flags: FlagEdgeRising})
	c.Pulse(1, 1100)
	got := events(t, in, kernelEvents)
	if len(got) != kernelEvents || got[0].Seq != 1100-kernelEvents+1 || got[len(got)-1].Seq != 1100 {
		t.Errorf("%d events, numbers %d to %d", len(got), got[0].Seq, got[len(got)-1].Seq)
	}
}

// A contact that bounces for 20 ms is one edge, which comes when the level has lasted.
func TestKernelDebounce(t *testing.T) {
	c := newSimChip(t)
	const (
		period = 500 * time.Millisecond
		jiffy  = 10 * time.Millisecond // the kernel's timers go by its tick, and round down
	)
	in := c.take("DOOR", InputOptions{Flags: FlagEdgeRising | FlagEdgeFalling, Debounce: period})
	c.Pulse(0, 10)
	settled := now(t)
	c.Pull(0, "up")
	if active, err := in.Active(); active || err != nil {
		t.Errorf("the level before the time is over: %v, %v", active, err)
	}
	first := events(t, in, 1)
	if len(first) != 1 || !first[0].Rising || first[0].Seq != 1 || first[0].Nanoseconds < settled+int64(period-jiffy) {
		t.Errorf("%+v, want one rising edge %s after %d", first, period, settled)
	}
	if active, err := in.Active(); !active || err != nil {
		t.Errorf("the level afterwards: %v, %v", active, err)
	}
	c.Pull(0, "down")
	if next := events(t, in, 1); next[0].Rising || next[0].Seq != 2 {
		t.Errorf("%+v, want one falling edge", next)
	}
}

func TestKernelHeld(t *testing.T) {
	c := newSimChip(t)
	c.take("DOOR", InputOptions{Consumer: "iotagent digital"})
	l, err := Find("/", "DOOR")
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"input": second(TakeInput(l, InputOptions{})), "output": second(TakeOutput(l, "x", false))} {
		for _, word := range []string{"DOOR (" + c.Device + ":0)", `held by "iotagent digital"`, fmt.Sprintf("process %d", os.Getpid()), "systemctl stop iotagent"} {
			if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v does not say %q", what, err, word)
			}
		}
	}
	if got := c.info(0); got.Flags != FlagUsed|FlagInput {
		t.Errorf("who asked for a line that is held changed it: %+v", got)
	}
}

func second[T any](_ T, err error) error { return err }

// A line of the kernel's own is refused as well.
func TestKernelHogged(t *testing.T) {
	c := newSimChip(t)
	c.Unplug()
	if err := os.Mkdir(c.Dir+"/bank0/line0/hog", 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		c.Unplug()
		if err := os.Remove(c.Dir + "/bank0/line0/hog"); err != nil {
			t.Error(err)
		}
		c.Plug()
	}()
	c.Write("bank0/line0/hog/name", "onewire@0")
	c.Write("bank0/line0/hog/direction", "input")
	c.Plug()
	l, err := Find("/", "DOOR")
	if err != nil {
		t.Fatal(err)
	}
	_, err = TakeInput(l, InputOptions{})
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), `held by "onewire@0": 1-Wire has it`) {
		t.Errorf("got %v", err)
	}
}

func TestKernelUnplugged(t *testing.T) {
	c := newSimChip(t)
	in := c.take("DOOR", InputOptions{Flags: FlagEdgeRising})
	result := make(chan error)
	go func() {
		_, err := in.Wait(nil)
		result <- err
	}()
	c.Unplug()
	if err := <-result; !errors.Is(err, unix.ENODEV) {
		t.Errorf("Wait ended with %v", err)
	}
	if _, err := in.Active(); !errors.Is(err, unix.ENODEV) {
		t.Errorf("the level of a chip that is gone: %v", err)
	}
	if _, err := Find("/", "DOOR"); !errors.Is(err, ErrUnknown) {
		t.Errorf("found: %v", err)
	}
	c.Plug()
	again := c.take("DOOR", InputOptions{})
	if _, err := again.Active(); err != nil {
		t.Error(err)
	}
}
