package outbox_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"iotagent/outbox"
)

// The power went while the next segment was made: before or after bbolt had grown it, and before it held anything.
func TestCutWhileMakingASegment(t *testing.T) {
	for name, size := range map[string]int64{"initialised": 4 * 4096, "grown": 8 << 20} {
		t.Run(name, func(t *testing.T) {
			dir := quickDir(t)
			q, err := outbox.Open(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			put(t, q, outbox.Normal, "x")
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "000000000002.seg")
			db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 4096})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, size); err != nil {
				t.Fatal(err)
			}
			for _, readOnly := range []bool{true, false} {
				q, err := outbox.Open(dir, &outbox.Options{ReadOnly: readOnly})
				if err != nil {
					t.Fatalf("read-only %v: %v", readOnly, err)
				}
				s := q.Stats()
				if r, err := q.Check(t.Context()); err != nil || !r.Sound() || s.Queued[outbox.Normal] != 1 || len(s.SetAside) > 0 {
					t.Errorf("read-only %v: %+v, %v; %+v", readOnly, r, err, s)
				}
				if err := q.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
