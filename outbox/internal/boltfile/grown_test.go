package boltfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"iotagent/outbox/internal/boltfile"
)

// The power may go between the growth of a new file and its first commit.
func TestCutWhileGrowing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.seg")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: boltfile.PageSize})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 8<<20); err != nil {
		t.Fatal(err)
	}
	f, err := boltfile.Open(path, &boltfile.Options{Magic: "test", Version: 1, Buckets: []string{"a"}, MaxBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
