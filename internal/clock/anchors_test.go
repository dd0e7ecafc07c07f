package clock_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iotagent/internal/clock"
)

func open(t *testing.T, path, boot string) *clock.Clock {
	t.Helper()
	return clock.Of(&clock.Parts{
		Boot: boot, Now: truth, Mono: func() time.Duration { return time.Minute },
		Synchronised: func() bool { return true }, Anchors: clock.OpenAnchors(path),
	})
}

func keep(t *testing.T, c *clock.Clock) {
	t.Helper()
	if anchored, err := c.Keep(); err != nil || !anchored {
		t.Fatalf("%v, %v", anchored, err)
	}
}

func TestAnchorFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock.json")
	keep(t, open(t, path, "boot-1"))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"boots":[{"boot":"boot-1","anchors":[{"uptime_ns":60000000000,"time":"2026-11-22T10:00:00Z","source":"kernel"}]}]}` + "\n"
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestOldBootsAreForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock.json")
	for i := range 260 {
		keep(t, open(t, path, fmt.Sprint("boot-", i)))
	}
	a := clock.OpenAnchors(path)
	for i, want := range map[int]bool{0: false, 3: false, 4: true, 259: true} {
		if _, ok := a.Find(fmt.Sprint("boot-", i), 0); ok != want {
			t.Errorf("boot %d: %v", i, ok)
		}
	}
}

func TestBootsWithoutAnIDAreNotConfused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock.json")
	c := open(t, path, "")
	keep(t, c)
	if _, ok := c.Anchors().Find("", 0); !ok {
		t.Error("not even in memory")
	}
	keep(t, open(t, path, "boot-1"))
	if _, ok := clock.OpenAnchors(path).Find("", 0); ok {
		t.Error("kept over a restart")
	}
}

func TestNilAnchorsKnowNothing(t *testing.T) {
	var a *clock.Anchors
	if _, ok := a.Find("boot-1", 0); ok {
		t.Error("found")
	}
}

// What cannot be read is said once, and in the way of nothing.
func TestDamagedAnchorFile(t *testing.T) {
	const good = `{"uptime_ns":1,"time":"2026-11-22T10:00:00Z","source":"kernel"}`
	for name, text := range map[string]string{
		"no JSON":       "garbage",
		"cut":           `{"boots":[{"boot":"b","anchors":[` + good,
		"implausible":   `{"boots":[{"boot":"b","anchors":[{"uptime_ns":1,"time":"1970-11-22T10:00:00Z","source":"kernel"}]}]}`,
		"source":        `{"boots":[{"boot":"b","anchors":[{"uptime_ns":1,"time":"2026-11-22T10:00:00Z","source":"moon"}]}]}`,
		"negative":      `{"boots":[{"boot":"b","anchors":[{"uptime_ns":-1,"time":"2026-11-22T10:00:00Z","source":"kernel"}]}]}`,
		"no anchor":     `{"boots":[{"boot":"b","anchors":[]}]}`,
		"no boot":       `{"boots":[{"boot":"","anchors":[` + good + `]}]}`,
		"a boot twice":  `{"boots":[{"boot":"b","anchors":[` + good + `]},{"boot":"b","anchors":[` + good + `]}]}`,
		"out of order":  `{"boots":[{"boot":"b","anchors":[{"uptime_ns":2,"time":"2026-11-22T10:00:00Z","source":"kernel"},` + good + `]}]}`,
		"a directory":   "",
		"not even text": "\x00\xff",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "clock.json")
			if text == "" {
				path = t.TempDir()
			} else if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c := open(t, path, "boot-1")
			anchored, err := c.Keep()
			if !anchored || err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, %v", anchored, err)
			}
			if text == "" {
				return
			}
			keep(t, c)
			if _, ok := clock.OpenAnchors(path).Find("boot-1", 0); !ok {
				t.Error("not written anew")
			}
		})
	}
}

// Without a disk the anchor is in memory, and written when that works again.
func TestAnchorsWithoutADisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	c := open(t, filepath.Join(dir, "clock.json"), "boot-1")
	if anchored, err := c.Keep(); !anchored || err == nil {
		t.Errorf("%v, %v", anchored, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	keep(t, c)
	if _, ok := clock.OpenAnchors(filepath.Join(dir, "clock.json")).Find("boot-1", 0); !ok {
		t.Error("not written")
	}
}

func FuzzAnchorFile(f *testing.F) {
	f.Add([]byte(`{"boots":[{"boot":"b","anchors":[{"uptime_ns":1,"time":"2026-11-22T10:00:00Z","source":"kernel","bound_ms":3}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		again, err := clock.Rewrite(text)
		if err != nil {
			return
		}
		twice, err := clock.Rewrite(again)
		if err != nil || !bytes.Equal(again, twice) {
			t.Errorf("%s became %s: %v", again, twice, err)
		}
	})
}
