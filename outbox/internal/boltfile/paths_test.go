package boltfile_test

import (
	"encoding/binary"
	"os"
	"testing"

	"go.etcd.io/bbolt"

	"iotagent/outbox/internal/boltfile"
)

// TestPathsBeforeUpdate gives every page in turn, under the open file, a count of overflow pages or a length that has bbolt ask for gigabytes when it
// changes that page. An update must refuse those that it would change, and go well beside the others.
func TestPathsBeforeUpdate(t *testing.T) {
	good := sound(t)
	last := []boltfile.Key{{Bucket: "b", Key: key(values)}}
	for name, at := range map[string]int{"overflow": 12, "length": 16 + 8} { // of a branch the latter is its first child
		for _, row := range []struct {
			keys []boltfile.Key
			want int
		}{
			{last, map[string]int{"overflow": 3, "length": 2}[name]}, // the root with the buckets, the branch of b, its last leaf
			{append(last, boltfile.Key{Bucket: "b", Key: key(0)}, boltfile.Key{Bucket: "a", Key: []byte("last")}), 4},
			{nil, -1}, // every page that is in use
		} {
			refused, used := 0, 0
			for id := 2; id < len(good)/boltfile.PageSize; id++ {
				path := write(t, good)
				f := open(t, path, options())
				spoilAt(t, path, int64(id*boltfile.PageSize+at))
				if damaged(t, path) {
					used++
				}
				_, err := f.Update(row.keys, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("b")).Put(key(values), value(values)) })
				switch {
				case boltfile.IsDamage(err):
					refused++
				case err != nil:
					t.Errorf("%s of page %d: %v", name, id, err)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			if want := row.want; want >= 0 && refused != want || want < 0 && (refused != used || used < 10) {
				t.Errorf("%s: keys %v: %d updates refused, want %d of %d", name, row.keys, refused, want, used)
			}
		}
	}
}

func spoilAt(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt(binary.NativeEndian.AppendUint32(nil, 0x7fffffff), at); err != nil {
		t.Fatal(err)
	}
}

// damaged tells whether the page that was spoiled is in use.
func damaged(t *testing.T, path string) bool {
	t.Helper()
	b, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	info, err := b.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return boltfile.IsDamage(boltfile.Verify(b, info.Size()))
}
