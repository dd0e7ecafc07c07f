package outbox_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// model is the outbox as slices.
type model struct {
	t      *rapid.T
	dir    string
	q      *outbox.Outbox
	n      int
	fresh  [3][]string // never handed out, in order
	back   [3][]string // released, kept in order of ids
	seq    map[string]int
	flight map[string]outbox.ID
	ids    map[outbox.ID]bool
	acked  map[string]bool // since the last sync: may come back after a crash
}

func TestModel(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // each check opens and syncs many files
		if err := f.Value.Set("30"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(f.DefValue) }) // was accepted before
	}
	root := quickDir(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "m") //nolint:usetesting // one for each check, in root
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{t: rt, dir: filepath.Join(dir, "0"), seq: map[string]int{}, flight: map[string]outbox.ID{}, ids: map[outbox.ID]bool{}, acked: map[string]bool{}}
		m.open()
		rt.Repeat(map[string]func(*rapid.T){
			"put": m.put, "next": m.next, "ack": m.ack, "release": m.release, "reject": m.reject,
			"reopen": m.reopen, "crash": m.crash, "": m.check,
		})
		if err := m.q.Close(); err != nil {
			rt.Fatal(err)
		}
		outboxtest.Check(t, m.dir)
	})
}

func (m *model) open() {
	q, err := outbox.Open(m.dir, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	m.q = q
}

func (m *model) put(t *rapid.T) {
	var ms []outbox.Message
	for range rapid.IntRange(1, 5).Draw(t, "count") {
		lane := outbox.Lane(rapid.IntRange(0, 2).Draw(t, "lane"))
		m.n++
		body := fmt.Sprintf("%d %0*d", m.n, rapid.IntRange(0, 3000).Draw(t, "size"), 0)
		m.fresh[lane] = append(m.fresh[lane], body)
		m.seq[body] = m.n
		ms = append(ms, outbox.Message{Lane: lane, Body: []byte(body), Readings: 1})
	}
	ids, err := m.q.Put(m.t.Context(), ms...)
	if err != nil || len(ids) != len(ms) {
		t.Fatalf("put: %v, %v", ids, err)
	}
	for _, id := range ids {
		if m.ids[id] {
			t.Fatalf("id %s was given twice", id)
		}
		m.ids[id] = true
	}
}

func (m *model) next(t *rapid.T) {
	n := rapid.IntRange(0, 8).Draw(t, "max")
	es, err := m.q.Next(n, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	var w []string
	for lane := range 3 {
		for _, from := range []*[]string{&m.back[lane], &m.fresh[lane]} {
			k := min(n-len(w), len(*from))
			w = append(w, (*from)[:k]...)
			*from = slices.Clone((*from)[k:])
		}
	}
	var got []string
	for _, e := range es {
		if e.Gap != nil {
			t.Fatalf("a gap: %+v", e.Gap)
		}
		got = append(got, string(e.Body))
		m.flight[string(e.Body)] = e.ID
	}
	if d := cmp.Diff(w, got); d != "" {
		t.Fatalf("next (-want +got):\n%s", d)
	}
}

// some draws a few of what is in flight.
func (m *model) some(t *rapid.T) []string {
	all := slices.SortedFunc(maps.Keys(m.flight), func(a, b string) int { return m.seq[a] - m.seq[b] })
	var out []string
	for _, b := range all {
		if rapid.Bool().Draw(t, "pick") {
			out = append(out, b)
		}
	}
	return out
}

func (m *model) ack(t *rapid.T) {
	for _, b := range m.some(t) {
		if err := m.q.Ack(m.flight[b]); err != nil {
			t.Fatal(err)
		}
		delete(m.flight, b)
		m.acked[b] = true
	}
}

func (m *model) release(t *rapid.T) {
	for _, b := range m.some(t) {
		id := m.flight[b]
		m.q.Release(id)
		delete(m.flight, b)
		m.back[id.Lane] = append(m.back[id.Lane], b)
		slices.SortFunc(m.back[id.Lane], func(a, b string) int { return m.seq[a] - m.seq[b] })
	}
}

func (m *model) reject(t *rapid.T) {
	if s := m.some(t); len(s) > 0 {
		if err := m.q.Reject(m.flight[s[0]], "no"); err != nil {
			t.Fatal(err)
		}
		delete(m.flight, s[0])
	}
}

func (m *model) reopen(t *rapid.T) {
	if err := m.q.Close(); err != nil {
		t.Fatal(err)
	}
	m.acked = map[string]bool{}
	m.restart()
}

// crash goes on with a copy of the file as it is now, as after a kill.
func (m *model) crash(t *rapid.T) {
	next := filepath.Join(filepath.Dir(m.dir), fmt.Sprint(m.n, len(m.ids), rapid.IntRange(0, 1<<30).Draw(t, "dir")))
	for before := uint64(1 << 63); before != m.q.Stats().Commits; { // a commit of acks may fall into the copy
		before = m.q.Stats().Commits
		copyFile(t, filepath.Join(m.dir, "outbox.db"), filepath.Join(next, "outbox.db"))
	}
	if err := m.q.Close(); err != nil {
		t.Fatal(err)
	}
	m.dir = next
	m.restart()
}

// restart gives everything in flight back, and takes over which acks were lost.
func (m *model) restart() {
	m.open()
	unsure := map[string]bool{}
	for b := range m.acked {
		unsure[b] = true
	}
	m.acked = map[string]bool{}
	for lane := range m.fresh {
		all := slices.Concat(m.back[lane], m.fresh[lane])
		for b, id := range m.flight {
			if int(id.Lane) == lane {
				all = append(all, b)
			}
		}
		m.fresh[lane], m.back[lane] = all, nil
	}
	m.flight = map[string]outbox.ID{}
	es, err := m.q.Next(1<<30, 1<<30)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range es {
		b := string(e.Body)
		if unsure[b] {
			m.fresh[e.ID.Lane] = append(m.fresh[e.ID.Lane], b)
		}
		if !e.Sent {
			m.t.Fatalf("%s of an earlier epoch is said to be new", e.ID)
		}
		m.q.Release(e.ID)
	}
	for lane := range m.fresh {
		slices.SortFunc(m.fresh[lane], func(a, b string) int { return m.seq[a] - m.seq[b] })
	}
}

func (m *model) check(t *rapid.T) {
	s := m.q.Stats()
	got := s.Queued[0] + s.Queued[1] + s.Queued[2]
	w := len(m.flight)
	for lane := range m.fresh {
		w += len(m.fresh[lane]) + len(m.back[lane])
	}
	if got != uint64(w) || s.InFlight != len(m.flight) {
		t.Fatalf("%d queued, %d in flight; want %d and %d", got, s.InFlight, w, len(m.flight))
	}
}

// copyFile copies what the newer meta page says is in use, without the hole behind it.
func copyFile(t interface{ Fatal(...any) }, from, to string) {
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	var head [8192]byte
	if _, err := in.ReadAt(head[:], 0); err != nil {
		t.Fatal(err)
	}
	pages := max(binary.NativeEndian.Uint64(head[56:]), binary.NativeEndian.Uint64(head[4096+56:]))
	b := make([]byte, pages*4096)
	if _, err := in.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// quickDir is a folder in memory where there is one, for tests that sync thousands of times and cut no power.
func quickDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "outbox") //nolint:usetesting // in memory, which TempDir need not be
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
