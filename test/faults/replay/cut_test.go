package replay_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iotagent/test/faults/replay"
)

// disk makes the history of a trace that is written with plain strings, one call a line, below /d. A line of another thread has its number and a
// bar in front.
func disk(t *testing.T, lines ...string) *replay.Disk {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		thread, call, other := strings.Cut(l, "|")
		if !other || strings.Contains(thread, "(") { // a bar between flags
			thread, call = "7", l
		}
		b.WriteString(thread + " 1.0 ")
		for i, part := range strings.Split(call, `"`) {
			if i%2 == 0 {
				b.WriteString(part)
				continue
			}
			b.WriteByte('"')
			for _, c := range []byte(part) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
			b.WriteByte('"')
		}
		b.WriteByte('\n')
	}
	calls, err := replay.Parse(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	d, err := replay.NewDisk(calls, "/d")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// holds writes an image and reads it back: names and contents.
func holds(t *testing.T, im *replay.Image) map[string]string {
	t.Helper()
	dir, got := t.TempDir(), map[string]string{}
	if err := im.WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		got[path[len(dir)+1:]] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestCut compares what is there for certain, and what is there at most, before a line.
func TestCut(t *testing.T) {
	create := []string{`openat(AT_FDCWD, "/d", O_RDONLY) = 9`, `openat(AT_FDCWD, "/d/a", O_RDWR|O_CREAT, 0600) = 3`}
	after := func(first []string, more ...string) []string { return slices.Concat(first, more) }
	synced := after(create, `fsync(9) = 0`, `pwrite64(3, "old", 3, 0) = 3`, `fdatasync(3) = 0`)
	type files = map[string]string
	tests := map[string]struct {
		trace       []string
		least, most files
	}{
		"entry":          {create, files{}, files{"a": ""}},
		"entry synced":   {after(create, `fsync(9) = 0`), files{"a": ""}, files{"a": ""}},
		"no sync":        {after(create, `fsync(9) = 0`, `pwrite64(3, "x", 1, 0) = 1`), files{"a": ""}, files{"a": "x"}},
		"synced":         {synced, files{"a": "old"}, files{"a": "old"}},
		"overwritten":    {after(synced, `pwrite64(3, "n", 1, 1) = 1`), files{"a": "old"}, files{"a": "ond"}},
		"short write":    {after(synced, `pwrite64(3, "new", 3, 0) = 1`), files{"a": "old"}, files{"a": "nld"}},
		"failed write":   {after(synced, `pwrite64(3, "new", 3, 0) = -1 EIO (x)`), files{"a": "old"}, files{"a": "old"}},
		"failed sync":    {after(synced, `pwrite64(3, "n", 1, 0) = 1`, `fsync(3) = -1 EIO (x)`, `fsync(3) = 0`), files{"a": "old"}, files{"a": "nld"}},
		"written anew":   {after(synced, `pwrite64(3, "n", 1, 0) = 1`, `fsync(3) = -1 EIO (x)`, `pwrite64(3, "m", 1, 0) = 1`, `fsync(3) = 0`), files{"a": "mld"}, files{"a": "mld"}},
		"sync left out":  {after(synced, `pwrite64(3, "n", 1, 0) = 1`, `fsync(3) = 0 (INJECTED)`), files{"a": "old"}, files{"a": "nld"}},
		"synced by name": {after(synced, `pwrite64(3, "n", 1, 0) = 1`, `dup(3) = 4`, `close(3) = 0`, `fsync(4) = 0`), files{"a": "nld"}, files{"a": "nld"}},
		"other file":     {after(synced, `pwrite64(3, "n", 1, 0) = 1`, `close(3) = 0`, `openat(AT_FDCWD, "/e", O_RDWR) = 3`, `fsync(3) = 0`), files{"a": "old"}, files{"a": "nld"}},
		"number used again": {
			after(synced, `close(3 <unfinished ...>`, `8|openat(AT_FDCWD, "/d/b", O_RDWR|O_CREAT) = 3`, `<... close resumed>) = 0`, `8|pwrite64(3, "n", 1, 0) = 1`, `sync() = 0`),
			files{"a": "old", "b": "n"},
			files{"a": "old", "b": "n"},
		},
		"write, append": {
			after(synced, `openat(AT_FDCWD, "/d/a", O_WRONLY|O_APPEND) = 5`, `write(5, "er", 2) = 2`, `write(5, "!", 1) = 1`, `fsync(5) = 0`),
			files{"a": "older!"},
			files{"a": "older!"},
		},
		"write, at the start":  {after(synced, `openat(AT_FDCWD, "/d/a", O_WRONLY) = 5`, `write(5, "b", 1) = 1`, `sync() = 0`), files{"a": "bld"}, files{"a": "bld"}},
		"seek":                 {after(synced, `lseek(3, 2, SEEK_SET) = 2`, `write(3, "n", 1) = 1`, `sync() = 0`), files{"a": "oln"}, files{"a": "oln"}},
		"cut":                  {after(synced, `ftruncate(3, 1) = 0`), files{"a": "old"}, files{"a": "o"}},
		"cut and grown":        {after(synced, `ftruncate(3, 1) = 0`, `fallocate(3, 0, 0, 3) = 0`, `fsync(3) = 0`), files{"a": "o\x00\x00"}, files{"a": "o\x00\x00"}},
		"emptied":              {after(synced, `openat(AT_FDCWD, "/d/a", O_RDWR|O_CREAT|O_TRUNC, 0600) = 5`), files{"a": "old"}, files{"a": ""}},
		"size kept":            {after(synced, `fallocate(3, FALLOC_FL_KEEP_SIZE, 0, 9) = 0`), files{"a": "old"}, files{"a": "old"}},
		"renamed":              {after(synced, `renameat(AT_FDCWD, "/d/a", AT_FDCWD, "/d/b") = 0`), files{"a": "old"}, files{"b": "old"}},
		"rename synced":        {after(synced, `rename("/d/a", "/d/b") = 0`, `fsync(9) = 0`), files{"b": "old"}, files{"b": "old"}},
		"removed":              {after(synced, `unlinkat(AT_FDCWD, "/d/a", 0) = 0`), files{"a": "old"}, files{}},
		"removed, by handle":   {after(synced, `unlinkat(9, "a", 0) = 0`, `fsync(9) = 0`), files{}, files{}},
		"failed to remove":     {after(synced, `unlink("/d/a") = -1 EIO (x)`, `fsync(9) = 0`), files{"a": "old"}, files{"a": "old"}},
		"folder":               {[]string{`mkdir("/d/e", 0700) = 0`, `openat(AT_FDCWD, "/d/e/f", O_CREAT) = 3`, `sync() = 0`}, files{"e/f": ""}, files{"e/f": ""}},
		"folder, entry unsure": {[]string{`mkdir("/d/e", 0700) = 0`, `sync() = 0`, `openat(AT_FDCWD, "/d/e/f", O_CREAT) = 3`, `fsync(3) = 0`}, files{}, files{"e/f": ""}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := disk(t, tt.trace...)
			if diff := cmp.Diff(tt.least, holds(t, d.Cut(d.Lines(), replay.Policy{}))); diff != "" {
				t.Errorf("for certain:\n%s", diff)
			}
			if diff := cmp.Diff(tt.most, holds(t, d.Cut(d.Lines(), replay.Policy{Chance: 1}))); diff != "" {
				t.Errorf("at most:\n%s", diff)
			}
		})
	}
}

// TestUnderWay: a sync covers what had ended when it began, and counts when it has ended.
func TestUnderWay(t *testing.T) {
	d := disk(t, `openat(AT_FDCWD, "/d/a", O_RDWR|O_CREAT) = 3`, `sync() = 0`, `pwrite64(3, "x", 1, 0) = 1`, `fsync(3 <unfinished ...>`)
	if got := holds(t, d.Cut(d.Lines(), replay.Policy{})); got["a"] != "" {
		t.Errorf("a sync that did not end: %q", got)
	}
	if got := holds(t, d.Cut(2, replay.Policy{Chance: 1})); got["a"] != "" {
		t.Errorf("a write that had not begun: %q", got)
	}
}

// TestPieces: each sector is one of those that were in the cache, and all mixtures come up.
func TestPieces(t *testing.T) {
	old, now := strings.Repeat("o", 1024), strings.Repeat("n", 1024)
	d := disk(t, `openat(AT_FDCWD, "/d/a", O_RDWR|O_CREAT) = 3`, `pwrite64(3, "`+old+`", 1024, 0) = 1024`, `sync() = 0`,
		`pwrite64(3, "`+now+`", 1024, 0) = 1024`)
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[string]int{}
	for range 200 {
		got := holds(t, d.Cut(d.Lines(), replay.Policy{Chance: 0.5, Unit: replay.Sector, Rand: r}))["a"]
		seen[got]++
	}
	for _, want := range []string{old, now, old[:512] + now[:512], now[:512] + old[:512]} {
		if seen[want] == 0 {
			t.Errorf("%.1q then %.1q never came up", want, want[512:])
		}
		delete(seen, want)
	}
	if len(seen) > 0 {
		t.Errorf("%d contents that were never in the cache", len(seen))
	}
}

// TestAnyOrder: without a journal's order the second of two entries may be there alone, with it never.
func TestAnyOrder(t *testing.T) {
	d := disk(t, `openat(AT_FDCWD, "/d/a", O_CREAT) = 3`, `openat(AT_FDCWD, "/d/b", O_CREAT) = 4`)
	r := rand.New(rand.NewPCG(1, 2))
	for _, any := range []bool{false, true} {
		alone := 0
		for range 100 {
			got := holds(t, d.Cut(d.Lines(), replay.Policy{Chance: 0.5, AnyOrder: any, Rand: r}))
			_, a := got["a"]
			if _, b := got["b"]; b && !a {
				alone++
			}
		}
		if (alone > 0) != any {
			t.Errorf("any order %v: %d times alone", any, alone)
		}
	}
}

func TestUnknownCalls(t *testing.T) {
	open := `7 1.0 openat(AT_FDCWD, "\x2f\x64\x2f\x61", O_CREAT) = 3` + "\n"
	for _, call := range []string{"copy_file_range(5, 0, 3, 0, 9, 0) = 9", "writev(3, x, 1) = 9", "fallocate(3, FALLOC_FL_PUNCH_HOLE, 0, 9) = 0", `link("\x2f\x64\x2f\x61", "\x2f\x64\x2f\x62") = 0`} {
		calls, err := replay.Parse(strings.NewReader(open + "7 1.0 " + call + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := replay.NewDisk(calls, "/d"); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, call := range []string{"ftruncate(3, 99999999999)", "fallocate(3, 0, 99999999999, 1)", `pwrite64(3, "\x41", 1, 99999999999)`, `pwrite64(3, "\x41", 1, -1)`} {
		calls, err := replay.Parse(strings.NewReader("7 1.0 openat(AT_FDCWD, \"\\x2f\\x61\", O_CREAT) = 3\n7 1.0 " + call + " = 1\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := replay.NewDisk(calls, "/"); err == nil {
			t.Errorf("%s is taken", call)
		}
	}
}
