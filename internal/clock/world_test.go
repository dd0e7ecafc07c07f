package clock_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"iotagent/internal/clock"
)

const (
	second = time.Second
	hour   = time.Hour
)

// truth is what time it is when the first boot of a world begins.
func truth() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }

// world is a machine: its boots, its wall clock, its kernel, and processes that start and end in it.
type world struct {
	t    *testing.T
	path string
	boot string
	// now is the true time, up the time since boot, off by how much the wall clock is ahead.
	now    time.Time
	up     time.Duration
	off    time.Duration
	synced bool
	c      *clock.Clock
}

func newWorld(t *testing.T, off time.Duration) *world {
	w := &world{t: t, path: filepath.Join(t.TempDir(), "clock.json"), now: truth()}
	w.reboot("boot-1", off)
	return w
}

// reboot starts the machine, and a process on it, with a wall clock that is ahead by off.
func (w *world) reboot(id string, off time.Duration) {
	w.boot, w.up, w.off, w.synced = id, 0, off, false
	w.restart()
}

// restart starts another process.
func (w *world) restart() {
	w.c = clock.Of(&clock.Parts{
		Boot: w.boot, Now: func() time.Time { return w.now.Add(w.off) }, Mono: func() time.Duration { return w.up },
		Synchronised: func() bool { return w.synced }, Anchors: clock.OpenAnchors(w.path),
	})
}

func (w *world) pass(d time.Duration) { w.now, w.up = w.now.Add(d), w.up+d }

// sync is what a time service does.
func (w *world) sync() { w.off, w.synced = 0, true }

// set is what a person does with date -s.
func (w *world) set(by time.Duration) { w.off, w.synced = w.off+by, false }

func (w *world) keep() {
	w.t.Helper()
	if _, err := w.c.Keep(); err != nil {
		w.t.Fatal(err)
	}
}

// taken is a moment whose true time the test knows.
type taken struct {
	clock.Stamp
	truth time.Time
}

func (w *world) take() taken { return taken{w.c.Stamp(), w.now} }

// is checks what is said of a moment: its time to within, and by which source; "" for the stamp itself.
func (w *world) is(x taken, source clock.Source, within time.Duration) {
	w.t.Helper()
	if t, ok := x.True(); ok != (source == "") {
		w.t.Errorf("stamp %+v, known %v", x.Stamp, ok)
	} else if ok {
		if d := t.Sub(x.truth); d.Abs() > within {
			w.t.Errorf("the stamp is %v off: %+v", d, x.Stamp)
		}
		return
	}
	a, ok := w.c.Anchors().Find(x.Boot, x.Mono)
	if !ok || a.Source != source {
		w.t.Errorf("anchor %+v, %v; want one of %s", a, ok, source)
	}
	if d := a.Time(x.Mono).Sub(x.truth); source != clock.Unknown && d.Abs() > within {
		w.t.Errorf("%v off by its anchor %+v", d, a)
	}
}

func (w *world) state(want clock.State) {
	w.t.Helper()
	if got := w.c.Status().State; got != want {
		w.t.Errorf("state %q, want %q", got, want)
	}
}

func TestWorlds(t *testing.T) {
	const years = -56 * 365 * 24 * hour
	rows := map[string]struct {
		off time.Duration
		do  func(w *world)
	}{
		"synchronised from the start": {0, func(w *world) {
			w.sync()
			x := w.take()
			w.is(x, "", 0)
			if !x.Trusted || !x.Restored.IsZero() {
				w.t.Errorf("%+v", x.Stamp)
			}
			w.state(clock.Synchronised)
		}},
		"no real-time clock, then the time service": {years, func(w *world) {
			w.pass(5 * second)
			x := w.take()
			w.state(clock.Implausible)
			w.pass(20 * second)
			w.sync()
			w.keep()
			w.is(x, clock.Kernel, 0)
			w.is(w.take(), "", 0)
		}},
		"hours behind though plausible": {-3 * hour, func(w *world) {
			x := w.take()
			w.state(clock.Uncertain)
			w.pass(hour)
			w.sync()
			w.keep()
			w.is(x, clock.Kernel, 0)
		}},
		"the process restarted before and after the trust": {-3 * hour, func(w *world) {
			x := w.take()
			w.restart()
			y := w.take()
			w.sync()
			w.keep()
			w.restart()
			w.is(x, clock.Kernel, 0)
			w.is(y, clock.Kernel, 0)
			w.pass(24 * hour)
			w.set(-hour)
			w.restart() // with a wall clock that somebody set wrong meanwhile
			w.is(w.take(), "", 0)
			w.state(clock.Restored)
		}},
		"a boot that ended without trust": {-3 * hour, func(w *world) {
			x := w.take()
			w.reboot("boot-2", -hour)
			w.sync()
			w.keep()
			if a, ok := w.c.Anchors().Find(x.Boot, x.Mono); ok {
				w.t.Errorf("%+v", a)
			}
		}},
		"an earlier boot keeps its anchor": {-3 * hour, func(w *world) {
			x := w.take()
			w.sync()
			w.keep()
			w.pass(hour)
			w.reboot("boot-2", years)
			w.is(x, clock.Kernel, 0)
		}},
		"set back by an hour": {0, func(w *world) {
			w.sync()
			w.take()
			w.pass(second)
			w.set(-hour)
			x := w.take()
			w.is(x, "", 0)
			if x.Trusted || x.Wall.Equal(x.truth) {
				w.t.Errorf("%+v", x.Stamp)
			}
			w.state(clock.Restored)
			if s := w.c.Status(); s.Steps != 1 || s.Step.By != -hour {
				w.t.Errorf("step %+v", s.Step)
			}
			w.pass(hour)
			w.sync()
			w.is(w.take(), "", 0)
			w.state(clock.Synchronised)
		}},
		"set to 1970": {0, func(w *world) {
			w.sync()
			w.take()
			w.set(years)
			w.is(w.take(), "", 0)
			w.state(clock.Implausible)
		}},
		"the time service goes silent": {0, func(w *world) {
			w.sync()
			w.take()
			w.synced = false
			w.pass(9 * hour)
			w.is(w.take(), "", 0)
			w.state(clock.Restored)
			if s := w.c.Status(); s.Steps != 0 {
				w.t.Errorf("step %+v", s.Step)
			}
		}},
		"the hub agrees": {300 * time.Millisecond, func(w *world) {
			x := w.take()
			w.c.Compare(w.now, 600*time.Millisecond)
			w.keep()
			w.state(clock.Confirmed)
			w.is(w.take(), "", second)
			w.is(x, clock.Hub, second)
			w.pass(900 * second)
			w.state(clock.Confirmed)
			w.pass(200 * second) // in which it can have drifted by 20 ms more than is allowed
			w.state(clock.Restored)
			w.c.Compare(w.now, 600*time.Millisecond)
			w.state(clock.Confirmed)
		}},
		"the hub does not say it well enough, until it is asked again": {500 * time.Millisecond, func(w *world) {
			w.c.Compare(w.now.Add(-500*time.Millisecond), 600*time.Millisecond)
			w.state(clock.Restored)
			w.is(w.take(), "", 600*time.Millisecond)
			w.pass(30 * second)
			w.c.Compare(w.now.Add(400*time.Millisecond), 600*time.Millisecond)
			w.state(clock.Confirmed)
			if s := w.c.Status(); s.Within > 160*time.Millisecond || (s.Ahead-w.off).Abs() > s.Within {
				w.t.Errorf("%v ahead, within %v", s.Ahead, s.Within)
			}
		}},
		"the hub agreed, then somebody set the clock": {0, func(w *world) {
			w.c.Compare(w.now, 600*time.Millisecond)
			w.take()
			w.set(5 * second)
			w.is(w.take(), "", 0)
			w.state(clock.Restored)
			w.set(-5 * second) // and back, which the hub knows without being asked
			w.state(clock.Confirmed)
		}},
		"the hub itself changes its mind": {0, func(w *world) {
			w.c.Compare(w.now.Add(hour), 600*time.Millisecond)
			w.state(clock.Restored)
			w.c.Compare(w.now, 600*time.Millisecond)
			w.state(clock.Confirmed)
		}},
		"the hub disagrees: its time is taken": {-3 * hour, func(w *world) {
			x := w.take()
			w.pass(10 * second)
			w.c.Compare(w.now.Add(400*time.Millisecond), 600*time.Millisecond)
			w.keep()
			w.state(clock.Restored)
			w.is(x, clock.Hub, 600*time.Millisecond)
			y := w.take()
			w.is(y, "", 600*time.Millisecond)
			if y.Trusted {
				w.t.Error("the wall clock is trusted")
			}
		}},
		"the hub's time though the wall clock cannot be right": {years, func(w *world) {
			x := w.take()
			w.c.Compare(w.now, 600*time.Millisecond)
			w.keep()
			w.is(x, clock.Hub, 0)
			w.is(w.take(), "", 0)
			w.state(clock.Implausible)
		}},
		"what the kernel said is finer than what the hub says": {0, func(w *world) {
			w.sync()
			w.take()
			w.set(-hour)
			w.c.Compare(w.now.Add(500*time.Millisecond), 600*time.Millisecond)
			w.is(w.take(), "", 0)
		}},
		"the hub corrects what has drifted": {0, func(w *world) {
			w.sync()
			w.take()
			w.set(-hour)
			w.now = w.now.Add(5 * second) // the crystal lost so much
			w.c.Compare(w.now, 600*time.Millisecond)
			w.is(w.take(), "", 0)
		}},
		"a hub with an impossible time": {0, func(w *world) {
			w.c.Compare(w.now.AddDate(-30, 0, 0), 600*time.Millisecond)
			w.state(clock.Uncertain)
		}},
		"sent before anybody vouched for it": {-3 * hour, func(w *world) {
			x := w.take()
			w.pass(second)
			if err := w.c.Assume(); err != nil {
				w.t.Fatal(err)
			}
			w.is(x, clock.Unconfirmed, 3*hour)
			w.pass(second)
			w.restart() // which makes it no surer
			w.state(clock.Uncertain)
			y := w.take()
			w.pass(second)
			w.sync()
			w.keep()
			w.is(x, clock.Unconfirmed, 3*hour) // as it was sent
			w.is(y, clock.Unconfirmed, 3*hour)
			w.pass(second)
			w.set(-hour)
			w.restart() // and what comes later is told by what is known now
			w.is(w.take(), "", 0)
			w.is(x, clock.Unconfirmed, 3*hour)
		}},
		"sent with a clock that cannot be right": {years, func(w *world) {
			x := w.take()
			if err := w.c.Assume(); err != nil {
				w.t.Fatal(err)
			}
			w.is(x, clock.Unknown, 0)
			w.sync()
			w.keep()
			w.restart()
			w.is(x, clock.Unknown, 0)
		}},
		"nothing to assume where the time is known": {0, func(w *world) {
			x := w.take()
			w.pass(second)
			w.sync()
			if err := w.c.Assume(); err != nil {
				w.t.Fatal(err)
			}
			w.is(x, clock.Kernel, 0)
		}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, row.off)
			row.do(w)
		})
	}
}

// The file is written when there is something new: once in a boot, and once more when the true time turns out to be another one.
func TestAnchorsAreWrittenSeldom(t *testing.T) {
	w := newWorld(t, -hour)
	writes := func() (n int) {
		b, err := os.ReadFile(w.path)
		if err != nil {
			return 0
		}
		if err := os.Remove(w.path); err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	w.keep()
	if writes() != 0 {
		t.Error("written though nothing is known")
	}
	w.sync()
	w.keep()
	if writes() == 0 {
		t.Error("not written")
	}
	for range 100 {
		w.pass(hour)
		w.keep()
	}
	if writes() != 0 {
		t.Error("written again")
	}
	w.set(10 * second)
	w.synced = true // the service stepped it
	w.keep()
	if writes() == 0 {
		t.Error("not written when the clock was stepped")
	}
	for range 100 { // somebody plays with it
		w.set(-10 * second)
		w.synced = true
		w.keep()
	}
	if n := writes(); n > 2000 {
		t.Errorf("%d bytes", n)
	}
}

// Where only the hub corrects a crystal, for months, a restart still begins with a time that is right.
func TestACrystalThatNobodyCorrects(t *testing.T) {
	w := newWorld(t, -3*hour)
	x := w.take()
	first := func() time.Time {
		a, ok := w.c.Anchors().Find(x.Boot, x.Mono)
		if !ok {
			t.Fatal("no anchor")
		}
		return a.Time(x.Mono)
	}
	var said time.Time
	for i := range 24 * 90 {
		w.pass(hour)
		w.now, w.off = w.now.Add(180*time.Millisecond), w.off-180*time.Millisecond // 50 ppm
		w.c.Compare(w.now, 600*time.Millisecond)
		w.keep()
		if i == 0 {
			said = first()
		}
		if got := first(); !got.Equal(said) {
			t.Fatalf("after %d h what was taken at %v was taken at %v", i, said, got)
		}
	}
	w.restart()
	w.is(w.take(), "", 1200*time.Millisecond)
	text, err := os.ReadFile(w.path)
	if err != nil || len(text) > 2000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestDriftIsSaid(t *testing.T) {
	a := clock.Anchor{Mono: 10 * hour, Wall: truth(), Source: clock.Kernel, Bound: 200 * time.Millisecond}
	for before, want := range map[time.Duration]time.Duration{0: 200 * time.Millisecond, 8000 * second: second, -8000 * second: second} {
		if got := a.Within(a.Mono - before); got != want {
			t.Errorf("%v before: %v, want %v", before, got, want)
		}
	}
}
