package outbox_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// TestCrashWhileMending copies the directory at each file that is opened while a damaged one is replaced. Each copy is a crash there:
// what was acknowledged and synced before does not come again, and nothing is lost without being declared.
func TestCrashWhileMending(t *testing.T) {
	s := newStock(t)
	for _, name := range []string{"control.db", "000000000003.seg", s.active} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, copies := s.with(t, "", nil), quickDir(t)
			var on atomic.Bool
			n := 0
			o := s.opt()
			o.OpenFile = func(file string, flag int, perm fs.FileMode) (*os.File, error) {
				if on.Load() {
					n++
					copyDir(t, dir, filepath.Join(copies, fmt.Sprint(n)))
				}
				return os.OpenFile(file, flag, perm)
			}
			q, err := outbox.Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			d := s.drained()
			for range 2 { // 200 are out of the way, and on the disk
				for _, e := range next(t, q, 100) {
					d.take(t, e)
					if err := q.Ack(e.ID); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := q.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(make([]byte, 2*page), 0); err != nil { // no commit can be found any more
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			on.Store(true)
			r, err := q.Repair(t.Context())
			if err != nil || problem(r, name) == "" {
				t.Fatalf("%+v, %v", r, err)
			}
			on.Store(false)
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			if n < 3 {
				t.Fatalf("only %d files were opened", n)
			}
			for i := range n {
				s.afterCrash(t, filepath.Join(copies, fmt.Sprint(i+1)), d, name)
				if t.Failed() {
					t.Fatalf("with copy %d of %d", i+1, n)
				}
			}
		})
	}
}

// afterCrash drains a directory of which some was drained before.
func (s *stock) afterCrash(t *testing.T, dir string, before *drained, spoiled string) {
	t.Helper()
	rest := *s
	rest.queued, rest.gaps = map[outbox.ID]bool{}, map[outbox.ID]string{}
	for id := range s.queued {
		if !before.got[id] {
			rest.queued[id] = true
		}
	}
	for id, why := range s.gaps {
		if !before.ids[id] {
			rest.gaps[id] = why
		}
	}
	q, err := outbox.Open(dir, s.opt())
	if err != nil {
		t.Fatal(err)
	}
	d := rest.drained()
	d.control = spoiled == "control.db"
	d.drain(t, q)
	d.judge(t)
	for id := range d.got {
		if before.got[id] && !unknown(d.gaps) {
			t.Errorf("%s was acknowledged, and nothing says that this was forgotten", id)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	outboxtest.Check(t, dir)
}

// TestControlOneCommitBack: without the newest meta page the one before is gone on from. What it knows and is not there any more may
// have been acknowledged: it is declared, but only as what may be lost at most.
func TestControlOneCommitBack(t *testing.T) {
	dir := quickDir(t)
	o := &outbox.Options{MaxBytes: 1 << 20, MinFree: -1}
	q, err := outbox.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		put(t, q, outbox.Normal, fmt.Sprint(i, noise(i, 500)))
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if q, err = outbox.Open(dir, o); err != nil {
		t.Fatal(err)
	}
	for _, e := range next(t, q, 300) {
		if err := q.Ack(e.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil { // one commit, and segments are removed
		t.Fatal(err)
	}
	path := filepath.Join(dir, "control.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	if binary.NativeEndian.Uint64(b[page+64:]) > binary.NativeEndian.Uint64(b[64:]) { // the transaction's number
		at = page
	}
	clear(b[at:][:page])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	q = open(t, dir, o)
	gaps := declared(t, q)
	some, none := false, false
	for _, g := range gaps {
		if g.Reason != "damage" || !g.AtMost {
			t.Errorf("gap %+v", g)
		}
		some, none = some || g.Messages > 0, none || g.Epoch == 0
	}
	if !some || !none {
		t.Errorf("gaps %+v", gaps)
	}
	if s := q.Stats(); s.Queued[outbox.Normal] < 100 {
		t.Errorf("stats %+v", s)
	}
}

// TestGapSpoiled: a bad bit in a gap that waits is found by its checksum only. Then nobody knows what it said.
func TestGapSpoiled(t *testing.T) {
	dir := quickDir(t)
	q, err := outbox.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, q, outbox.Bulk, "1", "2")
	if _, err := q.Purge(t.Context(), nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "control.db")
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, []byte(`"reason":"purged"`)) {
		t.Fatal("no gap in the file", err)
	}
	b = bytes.ReplaceAll(b, []byte(`"reason":"purged"`), []byte(`"reason":"purgad"`))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	q = open(t, dir, nil)
	gaps := declared(t, q)
	if len(gaps) != 1 || gaps[0].Reason != "damage" || !gaps[0].AtMost || gaps[0].Epoch != 0 {
		t.Errorf("gaps %+v", gaps)
	}
}
