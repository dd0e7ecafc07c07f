package counter

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// onDisk is what the file says.
func onDisk(t *testing.T, dir string) state {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "counters", pin+".json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTotalSurvives(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		for run := range 3 {
			d, l := start(t, dir, nil)
			wantTotal(t, d, float64(run*10), 0)
			pulse(l, 10, time.Second)
			wantTotal(t, d, float64(run*10+10), 0)
			halt(t, d)
			if diff := cmp.Diff(state{Pulses: uint64(run*10 + 10), Clean: true}, onDisk(t, dir)); diff != "" {
				t.Error(diff)
			}
			if got := told(d); got != nil {
				t.Error(got)
			}
		}
	})
}

// The file is written at the first pulse, each save interval with pulses, once after the last, and never at rest.
func TestSaves(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, dir, nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, err := os.Stat(filepath.Join(dir, "counters")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a counter at rest wrote: %v", err)
		}
		pulse(l, 1, 0)
		if diff := cmp.Diff(state{Pulses: 1}, onDisk(t, dir)); diff != "" {
			t.Error("first pulse:", diff)
		}
		pulse(l, 299, time.Second)
		if diff := cmp.Diff(state{Pulses: 1}, onDisk(t, dir)); diff != "" {
			t.Error("before the interval is over:", diff)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if diff := cmp.Diff(state{Pulses: 300}, onDisk(t, dir)); diff != "" {
			t.Error("after the interval:", diff)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if diff := cmp.Diff(state{Pulses: 300, Clean: true}, onDisk(t, dir)); diff != "" {
			t.Error("after an interval without pulses:", diff)
		}
		if err := os.RemoveAll(filepath.Join(dir, "counters")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, err := os.Stat(filepath.Join(dir, "counters")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a counter at rest again wrote: %v", err)
		}
		pulse(l, 1, 0)
		if diff := cmp.Diff(state{Pulses: 301}, onDisk(t, dir)); diff != "" {
			t.Error("first pulse after the rest:", diff)
		}
		halt(t, d)
	})
}

// After a power cut the total is that of the file, says that it may be short, and does so once.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, dir, nil)
		pulse(l, 100, time.Second)
		left := onDisk(t, dir)
		halt(t, d)
		if err := (&store{path: filepath.Join(dir, "counters", pin+".json")}).write(left); err != nil { // as if Halt had not been
			t.Fatal(err)
		}
		for run := range 3 {
			d, l := start(t, dir, nil)
			wantTotal(t, d, 1, 1)
			got := told(d)
			if run == 0 && (len(got) != 1 || !strings.Contains(got[0], "up to 5m may be missing")) || run > 0 && got != nil {
				t.Errorf("run %d told %q", run, got)
			}
			_ = l
			halt(t, d)
		}
		if diff := cmp.Diff(state{Pulses: 1, Clean: true, Uncertain: 1}, onDisk(t, dir)); diff != "" {
			t.Error(diff)
		}
	})
}

// A power cut in a quiet time costs nothing, and says so.
func TestPowerCutAtRest(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, dir, nil)
		pulse(l, 100, time.Second)
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if diff := cmp.Diff(state{Pulses: 100, Clean: true}, onDisk(t, dir)); diff != "" {
			t.Error(diff)
		}
		halt(t, d)
	})
}

func TestDamage(t *testing.T) {
	good := `{"pulses":7,"clean":true,"uncertain":0,"sum":`
	for name, text := range map[string]string{
		"empty": "", "zeros": strings.Repeat("\x00", 40), "cut": good, "sum": good + "1}", "other": `{"x":1}`, "no number": `{"pulses":-1}`, "list": "[]",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "counters", pin+".json")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				d, l := start(t, dir, func(c *Config) { c.Initial = 500 })
				if aside, err := os.ReadFile(path + ".damaged"); err != nil || string(aside) != text {
					t.Errorf("set aside: %q, %v", aside, err)
				}
				wantTotal(t, d, 500, 1)
				if got := told(d); len(got) != 1 || !strings.Contains(got[0], "damaged") || !strings.Contains(got[0], "begins at 500 again") {
					t.Errorf("told %q", got)
				}
				pulse(l, 3, time.Second)
				wantTotal(t, d, 503, 1)
				halt(t, d)
				if diff := cmp.Diff(state{Pulses: 3, Clean: true, Uncertain: 1}, onDisk(t, dir)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// A disk that takes nothing costs no pulse while the agent runs, is told once, and is tried again.
func TestDiskFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, dir, nil)
		pulse(l, 100, 10*time.Second)
		wantTotal(t, d, 100, 1)
		if got := told(d); len(got) != 1 || !strings.Contains(got[0], "cannot be saved") {
			t.Errorf("told %q", got)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if diff := cmp.Diff(state{Pulses: 100, Uncertain: 1}, onDisk(t, dir)); diff != "" {
			t.Error(diff)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := d.Halt(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "not saved") {
			t.Errorf("Halt: %v", err)
		}
	})
}

// Whoever takes the line when it is let go finds the total, the latest pulses in it.
func TestSavedBeforeTheLineIsFree(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := &slowClose{Line: sensortest.NewLine("GPIO27")}
		l.atClose = func() {
			if diff := cmp.Diff(state{Pulses: 7, Clean: true}, onDisk(t, dir)); diff != "" {
				t.Error(diff)
			}
		}
		s, _, err := openStore(dir, pin)
		if err != nil {
			t.Fatal(err)
		}
		d := open(l, config(nil), s, "")
		l.takeRising()
		for range 7 {
			l.Edge(true, time.Now())
		}
		halt(t, d)
		if l.Closed() != 1 {
			t.Errorf("closed %d times", l.Closed())
		}
	})
}

// slowClose is a line that calls atClose before it is let go.
type slowClose struct {
	*sensortest.Line
	atClose func()
}

func (l *slowClose) Close() error {
	l.atClose()
	return l.Line.Close()
}

// takeRising asks the line for rising edges, as Hardware.Input would.
func (l *slowClose) takeRising() {
	_, _ = (&sensortest.Machine{Lines: map[string]sensors.Input{pin: l.Line}}).Input(pin, sensors.InputOptions{Rising: true})
}

func TestWithoutStateDir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			d, l := start(t, "", nil)
			pulse(l, 3, time.Second)
			wantTotal(t, d, 3, 0)
			halt(t, d)
		}
	})
}

// That pulses may be missing is written down at once: the next crash is another doubt, not the same again.
func TestDoubtIsSavedAtOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		before, _, err := openStore(dir, pin)
		if err == nil {
			err = before.save(state{Pulses: 7}) // of a run that was broken off
		}
		if err != nil {
			t.Fatal(err)
		}
		d, _ := start(t, dir, nil)
		synctest.Wait()
		if diff := cmp.Diff(state{Pulses: 7, Clean: true, Uncertain: 1}, onDisk(t, dir)); diff != "" {
			t.Error(diff)
		}
		halt(t, d)
	})
}

// A total that could not be written is written later, though no pulse comes any more.
func TestSaveIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "counters")
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, dir, nil)
		pulse(l, 1, time.Second)
		if err := errors.Join(os.Rename(folder, folder+".away"), os.WriteFile(folder, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Minute)
		if got := told(d); len(got) != 1 || !strings.Contains(got[0], "cannot be saved") {
			t.Errorf("told is %q", got)
		}
		if err := errors.Join(os.Remove(folder), os.Rename(folder+".away", folder)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if diff := cmp.Diff(state{Pulses: 1, Clean: true, Uncertain: 1}, onDisk(t, dir)); diff != "" {
			t.Error(diff)
		}
		halt(t, d)
	})
}

// The names of a pin are files of their own, and "/dev/" makes none.
func TestFileNames(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		"GPIO27": "GPIO27.json", "/dev/gpiochip0:1": "gpiochip0:1.json", "a/../b": "a%2F..%2Fb.json", "..": "...json",
	} {
		s, _, err := openStore(dir, name)
		if err != nil || s.path != filepath.Join(dir, "counters", want) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// Whatever a disk gives back is refused or is what was written.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"pulses":7,"clean":true,"uncertain":0,"sum":1}`))
	f.Add([]byte(`{"pulses":1e3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data)
		if err != nil {
			return
		}
		dir := t.TempDir()
		if err := (&store{path: filepath.Join(dir, "counters", pin+".json")}).write(s); err != nil {
			t.Fatal(err)
		}
		if again, damage, err := openStore(dir, pin); err != nil || damage != "" || again.saved != s {
			t.Errorf("%+v became %+v, %q, %v", s, again, damage, err)
		}
	})
}
