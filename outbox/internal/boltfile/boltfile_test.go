package boltfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"iotagent/outbox/internal/boltfile"
)

func options() *boltfile.Options {
	return &boltfile.Options{MaxBytes: 16 << 20, MapBytes: 1 << 20, Buckets: []string{"a", "b"}, Magic: "test", Version: 1}
}

func open(t *testing.T, path string, o *boltfile.Options) *boltfile.File {
	t.Helper()
	f, err := boltfile.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func key(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

// value is long enough for a tree of two levels, and tells whether it is whole.
func value(i int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%05d ", i)), 60) }

const values = 600

// sound makes a file with a deep bucket and an inline one, and returns its bytes up to the last page in use.
func sound(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	f := open(t, path, options())
	for from := 0; from < values; from += 100 {
		if _, err := f.Update(nil, func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("b"))
			b.FillPercent = 1
			for i := range 100 {
				if err := b.Put(key(from+i), value(from+i)); err != nil {
					return err
				}
			}
			return tx.Bucket([]byte("a")).Put([]byte("last"), key(from+99))
		}); err != nil {
			t.Fatal(err)
		}
	}
	used := f.Used()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b[:used]
}

func write(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCreateAndReopen(t *testing.T) {
	b := sound(t)
	if err := boltfile.Verify(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	f := open(t, write(t, b), options())
	if f.Used() != int64(len(b)) {
		t.Errorf("used %d, want %d", f.Used(), len(b))
	}
	n := 0
	if err := f.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("b")).ForEach(func(k, v []byte) error {
			if !bytes.Equal(k, key(n)) || !bytes.Equal(v, value(n)) {
				t.Errorf("entry %d is %x", n, k)
			}
			n++
			return nil
		})
	}); err != nil || n != values {
		t.Errorf("%d values, %v", n, err)
	}
}

func TestOpenErrors(t *testing.T) {
	good := sound(t)
	old := open(t, filepath.Join(t.TempDir(), "f"), options())
	tests := []struct {
		name    string
		bytes   []byte
		change  func(o *boltfile.Options)
		want    error
		damaged bool
	}{
		{name: "another kind", bytes: good, change: func(o *boltfile.Options) { o.Magic = "tset" }, damaged: true},
		{name: "newer", bytes: good, change: func(o *boltfile.Options) { o.Version = 0 }, want: boltfile.ErrNewer},
		{name: "no such bucket", bytes: good, change: func(o *boltfile.Options) { o.Buckets = []string{"c"} }, damaged: true},
		{name: "empty, only to read", change: func(o *boltfile.Options) { o.ReadOnly = true }, want: fs.ErrNotExist},
		{name: "cut", bytes: good[:len(good)-1], damaged: true},
		{name: "something else", bytes: bytes.Repeat([]byte("no"), 9000), damaged: true},
		{name: "something short", bytes: []byte("no"), damaged: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options()
			if tt.change != nil {
				tt.change(o)
			}
			f, err := boltfile.Open(write(t, tt.bytes), o)
			if f != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) || boltfile.IsDamage(err) != tt.damaged {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := boltfile.Open(old.Descriptor().Name(), options()); !errors.Is(err, boltfile.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := boltfile.Open(filepath.Join(t.TempDir(), "f"), &boltfile.Options{ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent, only to read: %v", err)
	}
}

// TestUnfinished opens what a power cut can leave of a file that was being made.
func TestUnfinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{nil, make([]byte, 100), make([]byte, 4*4096), first} {
		f := open(t, write(t, b), options())
		if _, err := f.Update(nil, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("a")).Put([]byte("k"), nil) }); err != nil {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
}

func TestFull(t *testing.T) {
	o := options()
	o.MaxBytes = 1 << 20
	f := open(t, filepath.Join(t.TempDir(), "f"), o)
	_, err := f.Update(nil, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("a")).Put([]byte("k"), make([]byte, 2<<20)) })
	if !errors.Is(err, berrors.ErrMaxSizeReached) || boltfile.IsDamage(err) {
		t.Errorf("error %v", err)
	}
	if written, err := f.Update(nil, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("a")).Put([]byte("k"), nil) }); err != nil || written != 2*4096 {
		t.Errorf("afterwards: %d bytes, %v", written, err)
	}
}

func TestFnErrors(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "f"), options())
	mine := errors.New("mine")
	if err := f.View(func(*bbolt.Tx) error { return mine }); !errors.Is(err, mine) {
		t.Error(err)
	}
	if _, err := f.Update(nil, func(*bbolt.Tx) error { return boltfile.Damaged("a block: %w", mine) }); !errors.Is(err, mine) {
		t.Error(err)
	}
	if err := f.View(func(*bbolt.Tx) error { return nil }); err != nil {
		t.Errorf("a damage error of the caller's own closed the file: %v", err)
	}
	if _, err := f.Update(nil, func(*bbolt.Tx) error { panic("pow") }); !boltfile.IsDamage(err) {
		t.Errorf("panic: %v", err)
	}
	if err := f.View(func(*bbolt.Tx) error { return nil }); !boltfile.IsDamage(err) {
		t.Errorf("after a panic: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	open(t, f.Descriptor().Name(), options())
	if err := (*boltfile.File)(nil).Close(); err != nil {
		t.Error(err)
	}
}

// TestCutWhileOpen takes the file away under the map: a bus error that only SetPanicOnFault makes a panic of.
func TestCutWhileOpen(t *testing.T) {
	b := sound(t)
	for _, left := range []int64{0, 4096, 5 * 4096, int64(len(b)) / 2} {
		path := write(t, b)
		f := open(t, path, options())
		if err := os.Truncate(path, left); err != nil {
			t.Fatal(err)
		}
		if err := use(f); !boltfile.IsDamage(err) {
			t.Errorf("cut to %d: %v", left, err)
		}
		if _, err := f.Update(nil, func(tx *bbolt.Tx) error { return nil }); err == nil {
			t.Errorf("cut to %d: an update went well", left)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// use reads and writes all over the file.
func use(f *boltfile.File) error {
	if err := f.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("b")).ForEach(func(_, v []byte) error {
			_ = bytes.Count(v, []byte(" "))
			return nil
		})
	}); err != nil {
		return err
	}
	_, err := f.Update(nil, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("b")).Put(key(values), value(values)) })
	return err
}

// TestDamage spoils every page in turn. Nothing may crash or hang; Verify must find whatever bbolt cannot live with, and Walk and
// Orphans together must find every value whose page is whole.
func TestDamage(t *testing.T) {
	good := sound(t)
	ways := map[string]func(p []byte, r *rand.Rand){
		"zeroed": func(p []byte, _ *rand.Rand) { clear(p) },
		"torn":   func(p []byte, _ *rand.Rand) { clear(p[512:]) },
		"random": func(p []byte, r *rand.Rand) {
			for i := range p {
				p[i] = byte(r.Uint32())
			}
		},
		"header kept": func(p []byte, r *rand.Rand) {
			for i := 16; i < len(p); i++ {
				p[i] = byte(r.Uint32())
			}
		},
		"element bit": func(p []byte, r *rand.Rand) { p[16+r.IntN(64)] ^= 1 << r.IntN(8) },
		"bit":         func(p []byte, r *rand.Rand) { p[r.IntN(len(p))] ^= 1 << r.IntN(8) },
	}
	for name, spoil := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, dir := rand.New(rand.NewPCG(1, 2)), quickDir(t)
			for page := range len(good) / 4096 {
				b := bytes.Clone(good)
				spoil(b[page*4096:][:4096], r)
				if n := survivors(t, b); n < values-16 {
					t.Errorf("page %d cost %d values", page, values-n)
				}
				verr := boltfile.Verify(bytes.NewReader(b), int64(len(b)))
				err := openAndUse(filepath.Join(dir, "f"), b)
				if err != nil && !boltfile.IsDamage(err) || err != nil && verr == nil {
					t.Errorf("page %d: verify says %v, use says %v", page, verr, err)
				}
			}
		})
	}
}

// quickDir is a folder in memory where there is one: what is tested there is not durability.
func quickDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "boltfile") //nolint:usetesting // in memory, which TempDir need not be
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func openAndUse(path string, b []byte) error {
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	f, err := boltfile.Open(path, options())
	if err != nil {
		return err
	}
	return errors.Join(use(f), f.Close())
}

// survivors counts the whole values that can be read.
func survivors(t *testing.T, b []byte) int {
	t.Helper()
	found := map[int]bool{}
	take := func(k, v []byte) error {
		if len(k) == 8 {
			if i := int(binary.BigEndian.Uint64(k)); bytes.Equal(v, value(i)) {
				found[i] = true
			}
		}
		return nil
	}
	r, n := bytes.NewReader(b), int64(len(b))
	err := boltfile.Walk(r, n, func(_ string, k, v []byte) error { return take(k, v) }, func(error) error { return nil })
	if err != nil {
		t.Error(err)
	}
	if err := boltfile.Orphans(r, n, take); err != nil {
		t.Error(err)
	}
	return len(found)
}

func TestWalkNamesBuckets(t *testing.T) {
	b := sound(t)
	got := map[string]int{}
	err := boltfile.Walk(bytes.NewReader(b), int64(len(b)), func(bucket string, _, _ []byte) error {
		got[bucket]++
		return nil
	}, func(err error) error { return err })
	if diff := cmp.Diff(map[string]int{"meta": 1, "a": 1, "b": values}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestFreelistOfLivePages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 4096}) // which writes the list
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("a"))
			if err != nil {
				return err
			}
			return b.Put([]byte{byte(i)}, make([]byte, 1000))
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := boltfile.Verify(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	for page := 2; page < len(b)/4096; page++ {
		if p := b[page*4096:]; p[8] == 0x10 && binary.NativeEndian.Uint16(p[10:]) > 0 {
			q := bytes.Clone(b)
			binary.NativeEndian.PutUint64(q[page*4096+16:], 2) // rises, and lies inside the file
			if err := boltfile.Verify(bytes.NewReader(q), int64(len(q))); boltfile.IsDamage(err) {
				return
			}
		}
	}
	t.Error("a freelist that names another page went unnoticed")
}
