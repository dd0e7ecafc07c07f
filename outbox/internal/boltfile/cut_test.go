package boltfile

import (
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// A file that is cut to nothing while a commit is under way leaves no lock of bbolt's held by the reader that notices.
func TestCutUnderAReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := Open(path, &Options{Magic: "test", Version: 1, Buckets: []string{"b"}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Update(nil, func(*bbolt.Tx) error { // whose fate is the caller's affair
		if err := os.Truncate(path, 0); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := f.View(func(*bbolt.Tx) error { return nil }); !IsDamage(err) {
				t.Errorf("a view of a file that was cut: %v", err)
			}
		}
		return nil
	})
	if f.stuck.Load() {
		t.Error("bbolt's locks are held for ever")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
