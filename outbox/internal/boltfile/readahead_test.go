package boltfile_test

import (
	"os"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// TestReadAhead looks at the flags of the file's maps, as the kernel has them: rr is "one page at a time".
func TestReadAhead(t *testing.T) {
	path := write(t, sound(t))
	for readOnly, want := range map[bool]bool{true: false, false: true} {
		o := options()
		o.ReadOnly = readOnly
		f := open(t, path, o)
		if err := f.View(func(*bbolt.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		flags := mapFlags(t, path)
		if got := strings.Contains(flags, " rr "); got != want {
			t.Errorf("read only %v: VmFlags of the first map are %q", readOnly, flags)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// mapFlags returns the line VmFlags of the first map of a file (filesystems/proc.rst, smaps).
func mapFlags(t *testing.T, path string) string {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(smaps), path+"\n")
	_, flags, found2 := strings.Cut(after, "VmFlags:")
	flags, _, _ = strings.Cut(flags, "\n")
	if !found || !found2 {
		t.Fatalf("no map of %s in smaps", path)
	}
	return flags + " "
}
