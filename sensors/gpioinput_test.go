package sensors

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/internal/gpioline"
)

// fakeLine is a line of a kernel that exists as long as nobody closes or unplugs it.
type fakeLine struct {
	events chan []gpioline.Event
	gone   chan struct{}
	mute   bool // the chip goes without a word, as on older kernels
	mu     sync.Mutex
	err    error
	closed int
}

func newFakeLine() *fakeLine {
	return &fakeLine{events: make(chan []gpioline.Event), gone: make(chan struct{})}
}

func (l *fakeLine) Active() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil, l.err
}

func (l *fakeLine) Wait(events []gpioline.Event) ([]gpioline.Event, error) {
	select {
	case e := <-l.events:
		return append(events, e...), nil
	case <-l.gone:
		return events, unix.ENODEV
	}
}

func (l *fakeLine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed++; l.closed > 1 {
		return errors.New("closed twice")
	}
	if l.err == nil || l.mute {
		close(l.gone)
	}
	if l.err == nil {
		l.err = os.ErrClosed
	}
	return nil
}

func (l *fakeLine) unplug() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = unix.ENODEV
	if !l.mute {
		close(l.gone)
	}
}

// The monotonic parts of edges differ as the kernel's times do, and each lies as far back as the kernel's.
func TestInputEdges(t *testing.T) {
	line := newFakeLine()
	in := newBoardInput(line, "GPIO17 (gpiochip0:17)")
	before, mono := clocks()
	line.events <- []gpioline.Event{{Rising: true, Nanoseconds: mono - 5e9, Seq: 1}, {Nanoseconds: mono - 2e9, Seq: 4}}
	first, second := <-in.Edges(), <-in.Edges()
	if !first.Active || second.Active || first.Seq != 1 || second.Seq != 4 {
		t.Errorf("got %+v, %+v", first, second)
	}
	if got := second.At.Sub(first.At); got != 3*time.Second {
		t.Errorf("the edges are %s apart, want 3s", got)
	}
	if !strings.Contains(first.At.String(), "m=") {
		t.Errorf("%v has no monotonic part", first.At)
	}
	// The kernel's clock and Go's are one: what lies between is only the time that two readings take.
	if off := first.At.Sub(before) + 5*time.Second; off.Abs() > time.Second {
		t.Errorf("the edge is off by %s", off)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if _, open := <-in.Edges(); open {
		t.Error("the channel is open after Close")
	}
}

func TestInputClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := newFakeLine()
		in := newBoardInput(line, "GPIO17")
		line.events <- make([]gpioline.Event, 2*edgeBuffer) // more than anybody takes
		synctest.Wait()
		if err := errors.Join(in.Close(), in.Close()); err != nil || line.closed != 1 {
			t.Errorf("%v, closed %d times", err, line.closed)
		}
		synctest.Wait()
		n := 0
		for range in.Edges() {
			n++
		}
		if n != edgeBuffer {
			t.Errorf("%d edges were left in the channel, want %d", n, edgeBuffer)
		}
		if _, err := in.Read(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
	})
}

func TestInputUnplugged(t *testing.T) {
	for name, mute := range map[string]bool{"the kernel says so": false, "the kernel does not wake us": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				line := newFakeLine()
				line.mute = mute
				in := newBoardInput(line, "GPIO17")
				if active, err := in.Read(); !active || err != nil {
					t.Errorf("%v, %v", active, err)
				}
				line.unplug()
				if _, err := in.Read(); !errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), "GPIO17: ") {
					t.Errorf("got %v", err)
				}
				if _, open := <-in.Edges(); open {
					t.Error("the channel is open after the chip is gone")
				}
				if err := in.Close(); err != nil || line.closed != 1 {
					t.Errorf("%v, closed %d times", err, line.closed)
				}
			})
		})
	}
}

func TestInputRefused(t *testing.T) {
	b := NewHardware(t.TempDir(), nil)
	if _, err := b.Input("GPIO17", InputOptions{}); !errors.Is(err, ErrAbsent) {
		t.Errorf("no chip: %v", err)
	}
	if _, err := b.Input("P1_6", InputOptions{}); err == nil || errors.Is(err, ErrAbsent) {
		t.Errorf("ground: %v", err)
	}
	if _, err := b.Input("GPIO17", InputOptions{Bias: "up"}); err == nil || !strings.Contains(err.Error(), `unknown bias "up"`) {
		t.Errorf("bias: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Input("GPIO17", InputOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestInputFlags(t *testing.T) {
	for o, want := range map[InputOptions]uint64{
		{}:                                     0,
		{Bias: BiasNone, Rising: true}:         gpioline.FlagBiasDisabled | gpioline.FlagEdgeRising,
		{Bias: BiasPullUp, ActiveLow: true}:    gpioline.FlagBiasPullUp | gpioline.FlagActiveLow,
		{Bias: BiasPullDown, Falling: true}:    gpioline.FlagBiasPullDown | gpioline.FlagEdgeFalling,
		{Consumer: "x", Debounce: time.Second}: 0,
	} {
		if got, err := inputFlags(o); got != want || err != nil {
			t.Errorf("%+v: %b, %v, want %b", o, got, err, want)
		}
	}
}
