package outbox_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// stock is a directory of an outbox with several segments, lanes and epochs, gaps, dead letters and acknowledged parts, and what must come
// out of it.
type stock struct {
	files   map[string][]byte
	bodies  map[outbox.ID]string   // everything ever put
	order   map[outbox.ID]int      // of the puts
	queued  map[outbox.ID]bool     // not acknowledged, refused or purged
	gaps    map[outbox.ID]string   // that wait
	letters map[string]string      // body and reason
	active  string                 // the file that takes appends
	opt     func() *outbox.Options // to open it
}

const stockLoss = time.Hour

func newStock(t *testing.T) *stock {
	t.Helper()
	s := &stock{
		bodies: map[outbox.ID]string{}, order: map[outbox.ID]int{}, queued: map[outbox.ID]bool{}, gaps: map[outbox.ID]string{},
		letters: map[string]string{}, files: map[string][]byte{},
	}
	s.opt = func() *outbox.Options {
		return &outbox.Options{MaxBytes: 1 << 20, MinFree: -1, MaxLoss: stockLoss} // segments of 64 KiB
	}
	dir := quickDir(t)
	s.firstEpoch(t, dir)
	s.secondEpoch(t, dir)
	s.look(t, dir)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	tmp := quickDir(t)
	copyDir(t, dir, tmp) // without what is reserved
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(tmp, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		s.files[n.Name()] = b
		if filepath.Ext(n.Name()) == ".seg" {
			s.active = n.Name()
		}
	}
	outboxtest.Check(t, dir)
	return s
}

// put puts a batch of each lane and has it written.
func (s *stock) put(t *testing.T, q *outbox.Outbox, batches int) {
	t.Helper()
	for range batches {
		var ms []outbox.Message
		for i := range 30 {
			n := len(s.bodies) + i
			ms = append(ms, outbox.Message{Lane: outbox.Lane(n % 3), Readings: 2, Body: fmt.Appendf(nil, "%06d %s", n, noise(n, 300))})
		}
		ids, err := q.Put(t.Context(), ms...)
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range ids {
			s.order[id], s.bodies[id], s.queued[id] = len(s.bodies), string(ms[i].Body), true
		}
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *stock) settle(t *testing.T, q *outbox.Outbox, es []outbox.Entry) {
	t.Helper()
	for i, e := range es {
		switch {
		case e.Gap != nil: // stays
			continue
		case i == 3:
			if err := q.Reject(e.ID, "not today"); err != nil {
				t.Fatal(err)
			}
			s.letters[string(e.Body)] = "not today"
		default:
			if err := q.Ack(e.ID); err != nil {
				t.Fatal(err)
			}
		}
		delete(s.queued, e.ID)
	}
}

// firstEpoch leaves behind a head, a hole behind it, a letter and a gap of what was purged.
func (s *stock) firstEpoch(t *testing.T, dir string) {
	t.Helper()
	q, err := outbox.Open(dir, s.opt())
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, q, 4)
	if _, err := q.Purge(t.Context(), []outbox.Lane{outbox.Bulk}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for id := range s.queued {
		if id.Lane == outbox.Bulk {
			delete(s.queued, id)
		}
	}
	s.put(t, q, 16)
	es := next(t, q, 70)
	s.settle(t, q, append(es[:20:20], es[40:]...)) // 20 stay in flight
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s *stock) secondEpoch(t *testing.T, dir string) {
	t.Helper()
	q, err := outbox.Open(dir, s.opt())
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, q, 20)
	es := next(t, q, 30)
	s.settle(t, q, es[:10])
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// look reads what should be there from the sound outbox.
func (s *stock) look(t *testing.T, dir string) {
	t.Helper()
	o := s.opt()
	o.ReadOnly = true
	q, err := outbox.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = q.Scan(t.Context(), outbox.ScanOptions{Bodies: true}, func(it outbox.Item) error {
		if it.Gap != nil {
			s.gaps[it.ID] = it.Gap.Reason
			return nil
		}
		if n++; !s.queued[it.ID] || s.bodies[it.ID] != string(it.Body) {
			t.Errorf("%s should not be there, or not with %d bytes", it.ID, len(it.Body))
		}
		return nil
	})
	if err != nil || n != len(s.queued) || len(s.gaps) == 0 {
		t.Fatalf("%d messages and %d gaps, want %d: %v", n, len(s.gaps), len(s.queued), err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// with makes a directory of the stock in which one file is another.
func (s *stock) with(t *testing.T, name string, b []byte) string {
	t.Helper()
	dir := quickDir(t)
	for n, x := range s.files {
		if n == name {
			if x = b; x == nil {
				continue
			}
		}
		if err := os.WriteFile(filepath.Join(dir, n), x, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// plus is the stock with one message more at the end.
func (s *stock) plus(id outbox.ID, body string) *stock {
	c := *s
	c.bodies, c.order, c.queued = maps.Clone(s.bodies), maps.Clone(s.order), maps.Clone(s.queued)
	c.order[id], c.bodies[id], c.queued[id] = len(s.bodies), body, true
	return &c
}
