package sensors

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/internal/gpioline"
	"iotagent/internal/quantity"
)

// edgeBuffer is how many edges wait for a driver here; the kernel keeps 1024 more.
const edgeBuffer = 256

// Input takes a GPIO line from the kernel, and nothing of any other line. Errors wrap ErrAbsent when there is no such line or chip.
//
// An edge's time is the kernel's (CLOCK_MONOTONIC, taken in the interrupt; with Debounce, when the level had lasted) made a time.Time when it is received. Its
// monotonic part is right to some microseconds, which is how far apart two readings of one clock are; its wall part is that of the
// wall clock at receipt, so that an edge from before a step of the clock is not left with the old time.
func (b *Board) Input(line string, o InputOptions) (Input, error) {
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("gpio line %q: %w", line, ErrClosed)
	}
	flags, err := inputFlags(o)
	if err != nil {
		return nil, fmt.Errorf("gpio line %q: %w", line, err)
	}
	found, err := gpioline.Find(b.root, line)
	if err != nil {
		return nil, lineMeaning(err)
	}
	if o.Consumer == "" {
		o.Consumer = "iotagent"
	}
	in, err := gpioline.TakeInput(found, gpioline.InputOptions{Consumer: o.Consumer, Flags: flags, Debounce: o.Debounce})
	if err != nil {
		return nil, lineMeaning(err)
	}
	return newBoardInput(in, found.String()), nil
}

// CheckLine says what is wrong with the name of a line, as far as that shows without looking at the machine; nil when nothing is.
func CheckLine(name string) error { return gpioline.CheckName(name) }

// maxDebounce is beyond what any contact bounces.
const maxDebounce = 10 * time.Second

// CheckInput calls bad for what is wrong with the keys pin, bias and debounce, which every driver of an input has.
func CheckInput(pin string, bias Bias, debounce quantity.Duration, bad func(key, msg string)) {
	if err := CheckLine(pin); err != nil {
		bad("pin", err.Error())
	}
	switch bias {
	case BiasAsIs, BiasNone, BiasPullUp, BiasPullDown:
	default:
		bad("bias", fmt.Sprintf(`want "none", "pull-up" or "pull-down", or no such key to leave the line as it is, got %q`, bias))
	}
	if debounce.Problem() == "" && debounce.Duration > maxDebounce {
		bad("debounce", fmt.Sprintf("want at most %s, got %s", maxDebounce, debounce))
	}
}

func inputFlags(o InputOptions) (flags uint64, err error) {
	switch o.Bias {
	case BiasAsIs:
	case BiasNone:
		flags = gpioline.FlagBiasDisabled
	case BiasPullUp:
		flags = gpioline.FlagBiasPullUp
	case BiasPullDown:
		flags = gpioline.FlagBiasPullDown
	default:
		return 0, fmt.Errorf("unknown bias %q", o.Bias)
	}
	if o.ActiveLow {
		flags |= gpioline.FlagActiveLow
	}
	if o.Rising {
		flags |= gpioline.FlagEdgeRising
	}
	if o.Falling {
		flags |= gpioline.FlagEdgeFalling
	}
	return flags, nil
}

// lineMeaning adds ErrAbsent to errors that say that there is no such line, or none any more.
func lineMeaning(err error) error {
	if errors.Is(err, gpioline.ErrUnknown) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	return err
}

// kernelInput is what a boardInput needs of a line.
type kernelInput interface {
	Active() (bool, error)
	Wait(events []gpioline.Event) ([]gpioline.Event, error)
	Close() error
}

// boardInput is an Input on a goroutine of its own, which ends at Close or when the chip is gone.
type boardInput struct {
	line  kernelInput
	name  string
	edges chan Edge
	stop  chan struct{} // closed by let
	let   func() error  // lets the line go, once
}

var _ Input = (*boardInput)(nil)

func newBoardInput(line kernelInput, name string) *boardInput {
	in := &boardInput{line: line, name: name, edges: make(chan Edge, edgeBuffer), stop: make(chan struct{})}
	in.let = sync.OnceValue(func() error {
		close(in.stop)
		return line.Close()
	})
	go in.serve()
	return in
}

// String names the line in every way it has.
func (in *boardInput) String() string { return in.name }

// Edges delivers the edges.
func (in *boardInput) Edges() <-chan Edge { return in.edges }

// Close lets the line go.
func (in *boardInput) Close() error { return in.let() }

// Read returns whether the line is active. Its error wraps ErrAbsent when the chip is gone.
func (in *boardInput) Read() (bool, error) {
	active, err := in.line.Active()
	if err == nil {
		return active, nil
	}
	if errors.Is(err, unix.ENODEV) {
		_ = in.let() // older kernels do not wake who waits for edges when the chip goes
	}
	return false, fmt.Errorf("%s: %w", in.name, lineMeaning(err))
}

// serve hands the kernel's events on until there are no more.
func (in *boardInput) serve() {
	defer close(in.edges)
	var events []gpioline.Event
	for {
		var err error
		if events, err = in.line.Wait(events[:0]); err != nil {
			return // at Close, or the next Read says why
		}
		now, mono := clocks()
		for _, e := range events {
			select {
			case in.edges <- Edge{Active: e.Rising, At: now.Add(time.Duration(e.Nanoseconds - mono)), Seq: e.Seq}:
			case <-in.stop:
				return
			}
		}
	}
}

// clocks reads both clocks at one moment, as far as that can be had.
func clocks() (now time.Time, mono int64) {
	const near, tries = 20 * time.Microsecond, 4
	for range tries {
		before := monotonic()
		now = time.Now()
		after := monotonic()
		mono = before + (after-before)/2
		if after-before < int64(near) {
			break
		}
	}
	return now, mono
}

// monotonic returns what the kernel stamps edges with.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // a clock that every kernel has
	}
	return ts.Nano()
}
