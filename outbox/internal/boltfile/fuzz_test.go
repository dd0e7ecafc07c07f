package boltfile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"iotagent/outbox/internal/boltfile"
)

// FuzzFile reads files that were spoiled behind their meta pages: no panic, no endless loop, and what Verify finds nothing wrong with
// can be walked to the end.
func FuzzFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "f")
	b, err := boltfile.Open(path, options())
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if _, err := b.Update(nil, func(tx *bbolt.Tx) error {
			for k := range 12 {
				if err := tx.Bucket([]byte("b")).Put(key(12*i+k), value(i)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			f.Fatal(err)
		}
	}
	used := b.Used()
	if err := b.Close(); err != nil {
		f.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	metas, rest := file[:8192], file[8192:used]
	f.Add(rest)
	f.Add(rest[:len(rest)-4096])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, rest []byte) {
		b := append(bytes.Clone(metas), rest...)
		r, n := bytes.NewReader(b), int64(len(b))
		elements := 0
		count := func(string, []byte, []byte) error {
			elements++
			return nil
		}
		err := boltfile.Verify(r, n)
		if err != nil && !boltfile.IsDamage(err) {
			t.Errorf("not a damage error: %v", err)
		}
		strict := func(err error) error { return err }
		if werr := boltfile.Walk(r, n, count, strict); werr != nil && err == nil {
			t.Errorf("verified, but: %v", werr)
		}
		lax := func(error) error { return nil }
		if err := boltfile.Walk(r, n, count, lax); err != nil {
			t.Error(err)
		}
		if err := boltfile.WalkPrevious(r, n, count, lax); err != nil {
			t.Error(err)
		}
		if err := boltfile.Orphans(r, n, func(_, _ []byte) error { return nil }); err != nil {
			t.Error(err)
		}
		if elements > 100*len(b) {
			t.Errorf("%d elements in %d bytes", elements, len(b))
		}
	})
}
