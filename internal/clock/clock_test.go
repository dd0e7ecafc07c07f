package clock_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/internal/clock"
)

func TestPlausible(t *testing.T) {
	for text, want := range map[string]bool{
		"1970-01-01T00:00:00Z":           false, // no real-time clock
		"2000-01-01T00:00:00Z":           false, // an empty battery
		"2025-12-31T23:59:59Z":           false,
		"2026-01-01T00:00:00Z":           false,
		"2026-01-01T00:00:00.000000001Z": true,
		"2026-01-01T05:00:00+06:00":      false, // still 2025 in UTC
		"2026-11-22T10:00:00Z":           true,
		"2075-12-31T23:59:59Z":           true,
		"2076-01-01T00:00:00Z":           false,
		"2106-02-07T06:28:16Z":           false, // 32 bits of seconds have run over
	} {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		if got := clock.Plausible(at); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if clock.Plausible(time.Time{}) {
		t.Error("the zero time is plausible")
	}
}

func TestNewWithMakesStampsOfItsParts(t *testing.T) {
	wall := time.Date(2026, 11, 22, 11, 0, 0, 5, time.FixedZone("CET", 3600))
	mono := 5 * time.Second
	c := clock.NewWith("boot-1", func() time.Time { return wall }, func() time.Duration { return mono })
	if diff := cmp.Diff(clock.Stamp{Boot: "boot-1", Mono: mono, Wall: wall.UTC(), Trusted: true}, c.Stamp()); diff != "" {
		t.Error(diff)
	}
	if c.Stamp().Wall.Location() != time.UTC {
		t.Error("the stamp is not in UTC")
	}
	wall, mono = time.Unix(0, 0), 6*time.Second // the clock was set wrong: monotonic time goes on
	if got := c.Stamp(); got.Trusted || got.Mono != mono || c.Mono() != mono || !c.Now().Equal(wall) {
		t.Errorf("got %+v", got)
	}
}

func TestNewIsThisMachinesClock(t *testing.T) {
	before := time.Now()
	c := clock.New(nil)
	first, second := c.Stamp(), c.Stamp()
	if first.Mono <= 0 || second.Mono < first.Mono {
		t.Errorf("monotonic time %v, then %v", first.Mono, second.Mono)
	}
	if again := c.Status(); again.Steps != 0 || (again.State == clock.Synchronised) != first.Trusted {
		t.Errorf("status %+v", again)
	}
	if first.Wall.Before(before.Round(0)) || second.Wall.Sub(before) > time.Hour {
		t.Errorf("wall time %v, want %v", first.Wall, before)
	}
	if first.Boot != second.Boot || first.Boot != clock.New(nil).Stamp().Boot {
		t.Error("the boot id changes")
	}
	_, err := os.Stat("/proc/sys/kernel/random/boot_id")
	uuid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	if (err == nil) != uuid.MatchString(first.Boot) {
		t.Errorf("boot id %q, file: %v", first.Boot, err)
	}
	moved := clock.New(func() time.Time { return before.AddDate(-30, 0, 0) }).Stamp()
	if moved.Trusted || moved.Boot != first.Boot {
		t.Errorf("got %+v", moved)
	}
}

// Go's monotonic time, which time.Now carries, would hide every step.
func TestStampsAreWallTimeOnly(t *testing.T) {
	if s := clock.New(nil).Stamp(); s.Wall != s.Wall.Round(0) {
		t.Errorf("%v carries monotonic time", s.Wall)
	}
}

// Many stamps ask the kernel little, and a step is seen all the same.
func TestTheKernelIsAskedSeldom(t *testing.T) {
	up, off, asked, synced := time.Hour, time.Duration(0), 0, true
	c := clock.Of(&clock.Parts{
		Boot: "boot", Mono: func() time.Duration { return up }, Now: func() time.Time { return truth().Add(up + off) },
		Synchronised: func() bool { asked++; return synced },
	})
	for range 1000 {
		c.Stamp()
		up += time.Millisecond
	}
	if asked > 25 {
		t.Errorf("asked %d times in a second", asked)
	}
	off, synced = -time.Hour, false
	if s := c.Stamp(); s.Trusted {
		t.Error("a clock that was just set is trusted")
	}
	synced = true
	up += 100 * time.Millisecond
	if s := c.Stamp(); !s.Trusted {
		t.Error("the time service is not noticed")
	}
}

func BenchmarkStamp(b *testing.B) {
	c := clock.New(nil)
	b.ReportAllocs()
	for b.Loop() {
		c.Stamp()
	}
}

// All that a stamp says goes back together.
func TestAgo(t *testing.T) {
	at := clock.Stamp{Boot: "b", Mono: time.Minute, Wall: truth().Add(-time.Hour), Restored: truth()}
	want := clock.Stamp{Boot: "b", Mono: 50 * time.Second, Wall: truth().Add(-time.Hour - 10*time.Second), Restored: truth().Add(-10 * time.Second)}
	if got := at.Ago(10 * time.Second); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	at.Restored = time.Time{}
	if got := at.Ago(2 * time.Minute); got.Mono != 0 || !got.Restored.IsZero() {
		t.Errorf("%+v", got)
	}
}

// Where the kernel does not say which boot it is, no process takes its own time since boot for that of another.
func TestBootID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "boot_id")
	for _, text := range []string{"", "\n", "6c2ebb3b-2a8c-4ab6-8a35-4b5d7d4d7b11\n"} {
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		a, b := clock.BootID(path), clock.BootID(path)
		if id := strings.TrimSpace(text); id == "" && (a == b || a == "") || id != "" && (a != id || b != id) {
			t.Errorf("%q: %q, %q", text, a, b)
		}
	}
}
