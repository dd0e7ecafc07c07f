package outbox_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"iotagent/outbox"
	"iotagent/outbox/internal/boltfile"
)

// TestNewerFormat: a file of a later version is an error that says what to do, and nothing is changed.
func TestNewerFormat(t *testing.T) {
	s := newStock(t)
	for _, name := range []string{"control.db", s.active} {
		for _, readOnly := range []bool{false, true} {
			dir := s.with(t, "", nil)
			raiseFormat(t, filepath.Join(dir, name))
			before := tree(t, dir)
			o := s.opt()
			o.ReadOnly = readOnly
			_, err := outbox.Open(dir, o)
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "run the newer program again") {
				t.Errorf("%s, looking: %v: %v", name, readOnly, err)
			}
			if after := tree(t, dir); !slices.Equal(before, after) {
				t.Errorf("%s, looking: %v: opening changed %v to %v", name, readOnly, before, after)
			}
		}
	}
}

// TestNewerSegment: a segment that takes no more is opened only when it is its turn. It is kept then, and the outbox waits for somebody to
// run the newer program.
func TestNewerSegment(t *testing.T) {
	s := newStock(t)
	dir := s.with(t, "", nil)
	name := filepath.Join(dir, "000000000001.seg")
	raiseFormat(t, name)
	before := tree(t, dir)
	q, err := outbox.Open(dir, s.opt())
	if err != nil {
		t.Fatal(err)
	}
	d := s.drained()
	for es := next(t, q, 100); len(es) > 0; es = next(t, q, 100) {
		for _, e := range es {
			d.take(t, e)
		}
	}
	if err := q.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "run the newer program again") {
		t.Errorf("sync: %v", err)
	}
	if st := q.Stats(); len(st.SetAside) > 0 || !strings.Contains(st.Degraded, "newer") || len(d.gaps) > 0 {
		t.Errorf("%+v, gaps %s", st, show(d.gaps))
	}
	if err := q.Close(); err == nil {
		t.Error("close: nothing could be noted")
	}
	after := tree(t, dir)
	if i := slices.IndexFunc(before, func(x string) bool { return strings.HasPrefix(x, "000000000001.seg") }); !slices.Contains(after, before[i]) {
		t.Errorf("%v became %v", before, after)
	}
}

func raiseFormat(t *testing.T, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("meta"))
		magic, version, ok := boltfile.Format(b.Get([]byte("format")))
		if !ok {
			t.Error("the format cannot be read")
		}
		return b.Put([]byte("format"), boltfile.FormatValue(magic, version+1))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
