package outbox_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iotagent/outbox"
)

// model is the outbox as slices. A message's body says its number in the order of the puts.
type model struct {
	t       *rapid.T
	dir     string
	opt     outbox.Options
	q       *outbox.Outbox
	n       int
	fresh   [3][]string // never handed out, in order
	back    [3][]string // released, in the order of the puts
	seq     map[string]int
	flight  map[string]outbox.ID
	ids     map[outbox.ID]bool
	acked   map[string]bool // since the last sync: may come back after a crash
	staged  map[string]bool // may be in memory only: may be lost by a crash
	crashes int
	epoch   uint64
	mark    int // the number of the first message behind the last Mark in this opening, 0 without one
}

func TestModel(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // each check opens and syncs many files
		if err := f.Value.Set("40"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(f.DefValue) }) // was accepted before
	}
	root := quickDir(t)
	for name, opt := range map[string]outbox.Options{
		"durable": {MaxBytes: 8 << 20}, "staged": {MaxBytes: 8 << 20, MaxLoss: time.Hour}, "big": {MaxLoss: time.Hour},
		"live, durable": {MaxBytes: 8 << 20, LiveFirst: true}, "live, staged": {MaxBytes: 8 << 20, MaxLoss: time.Hour, LiveFirst: true},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) { runModel(rt, root, opt) })
		})
	}
}

func runModel(t *rapid.T, root string, opt outbox.Options) {
	dir, err := os.MkdirTemp(root, "m") // one for each check
	if err != nil {
		t.Fatal(err)
	}
	opt.MinFree = -1
	m := &model{t: t, dir: filepath.Join(dir, "0"), opt: opt, seq: map[string]int{}, ids: map[outbox.ID]bool{}}
	m.open()
	t.Repeat(map[string]func(*rapid.T){
		"put": m.put, "next": m.next, "ack": m.ack, "release": m.release, "reject": m.reject,
		"sync": m.sync, "reopen": m.reopen, "crash": m.crash, "mark": m.setMark, "": m.check,
	})
	if err := m.q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := outbox.Verify(m.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

func (m *model) open() {
	q, err := outbox.Open(m.dir, &m.opt)
	if err != nil {
		m.t.Fatal(err)
	}
	m.q, m.epoch, m.mark = q, q.Stats().Epoch, 0
	m.flight, m.acked, m.staged = map[string]outbox.ID{}, map[string]bool{}, map[string]bool{}
}

func (m *model) put(t *rapid.T) {
	var ms []outbox.Message
	var bodies []string
	durable := m.opt.MaxLoss == 0
	for range rapid.IntRange(1, 5).Draw(t, "count") {
		lane := outbox.Lane(rapid.IntRange(0, 2).Draw(t, "lane"))
		m.n++
		size := rapid.SampledFrom([]int{0, 10, 200, 3000, 60000}).Draw(t, "size")
		body := fmt.Sprintf("%d %s", m.n, noise(m.n, size))
		m.fresh[lane] = append(m.fresh[lane], body)
		m.seq[body] = m.n
		bodies = append(bodies, body)
		d := rapid.IntRange(0, 3).Draw(t, "durable") == 0
		durable = durable || d
		ms = append(ms, outbox.Message{Lane: lane, Body: []byte(body), Readings: 1, Durable: d})
	}
	ids, err := m.q.Put(m.t.Context(), ms...)
	if err != nil || len(ids) != len(ms) {
		t.Fatalf("put: %v, %v", ids, err)
	}
	for i, id := range ids {
		if m.ids[id] {
			t.Fatalf("id %s was given twice", id)
		}
		m.ids[id] = true
		if !ms[i].Durable && m.opt.MaxLoss > 0 {
			m.staged[bodies[i]] = true
		}
	}
}

// noise is text that compresses badly, the same for one seed.
func noise(seed, n int) string {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(33 + r.IntN(90))
	}
	return string(b)
}

func (m *model) next(t *rapid.T) {
	n := rapid.IntRange(0, 8).Draw(t, "max")
	es, err := m.q.Next(n, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	w := m.take(0, n, 0)
	for _, lane := range []int{1, 2} {
		if m.mark > 0 {
			w = append(w, m.take(lane, n-len(w), m.mark)...)
		}
	}
	for _, lane := range []int{1, 2} {
		w = append(w, m.take(lane, n-len(w), 0)...)
	}
	var got []string
	for _, e := range es {
		if e.Gap != nil {
			t.Fatalf("a gap: %+v", e.Gap)
		}
		got = append(got, string(e.Body))
		m.flight[string(e.Body)] = e.ID
	}
	if d := cmp.Diff(brief(w), brief(got)); d != "" {
		t.Fatalf("next (-want +got):\n%s", d)
	}
}

// take removes up to n messages of a lane that were put as the one with a number or later: first what was released.
func (m *model) take(lane, n, from int) (out []string) {
	for _, queue := range []*[]string{&m.back[lane], &m.fresh[lane]} {
		at := 0
		for at < len(*queue) && m.seq[(*queue)[at]] < from {
			at++
		}
		k := min(n-len(out), len(*queue)-at)
		out = append(out, (*queue)[at:at+k]...)
		*queue = slices.Concat((*queue)[:at], (*queue)[at+k:])
	}
	return out
}

func (m *model) setMark(*rapid.T) {
	m.q.Mark()
	if m.opt.LiveFirst {
		m.mark = m.n + 1
	}
}

func brief(bodies []string) (out []string) {
	for _, b := range bodies {
		out = append(out, fmt.Sprintf("%.20s %d", b, len(b)))
	}
	return out
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
		delete(m.staged, s[0])
	}
}

func (m *model) sync(t *rapid.T) {
	if err := m.q.Sync(m.t.Context()); err != nil {
		t.Fatal(err)
	}
	m.acked, m.staged = map[string]bool{}, map[string]bool{}
}

func (m *model) reopen(t *rapid.T) {
	if err := m.q.Close(); err != nil {
		t.Fatal(err)
	}
	m.acked, m.staged = map[string]bool{}, map[string]bool{}
	m.restart(false)
}

// crash goes on with a copy of the files as they are now, as after a kill.
func (m *model) crash(t *rapid.T) {
	m.crashes++
	next := filepath.Join(filepath.Dir(m.dir), fmt.Sprint("crash", m.crashes))
	for before := uint64(1 << 63); before != m.q.Stats().Commits; { // a commit of acks may fall into the copy
		before = m.q.Stats().Commits
		copyDir(t, m.dir, next)
	}
	if err := m.q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(m.dir); err != nil {
		t.Fatal(err)
	}
	m.dir = next
	m.restart(true)
}

// restart gives everything in flight back, and takes over which acks and which messages were lost.
func (m *model) restart(crashed bool) {
	epoch, unsure, staged := m.epoch, m.acked, m.staged
	flight := m.flight
	m.open()
	var all [3][]string
	for lane := range all {
		all[lane] = slices.Concat(m.back[lane], m.fresh[lane])
		m.back[lane], m.fresh[lane] = nil, nil
	}
	for b, id := range flight {
		all[id.Lane] = append(all[id.Lane], b)
	}
	if err := m.q.Sync(m.t.Context()); err != nil { // gaps are handed out once they are on disk
		m.t.Fatal(err)
	}
	es, err := m.q.Next(1<<30, 1<<30)
	if err != nil {
		m.t.Fatal(err)
	}
	declared := map[outbox.Lane]bool{}
	got := map[string]bool{}
	for _, e := range es {
		if g := e.Gap; g != nil {
			if !crashed || g.Reason != "unclean-stop" || g.Epoch != epoch || g.Within != m.opt.MaxLoss {
				m.t.Fatalf("a gap: %+v", g)
			}
			declared[g.Lane] = true
			if err := m.q.Ack(e.ID); err != nil {
				m.t.Fatal(err)
			}
			continue
		}
		b := string(e.Body)
		got[b] = true
		m.fresh[e.ID.Lane] = append(m.fresh[e.ID.Lane], b)
		if !e.Sent {
			m.t.Fatalf("%s of an earlier epoch is said to be new", e.ID)
		}
		m.q.Release(e.ID)
	}
	if err := m.q.Sync(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	for lane := range all {
		for _, b := range all[lane] {
			if !got[b] && !(staged[b] && declared[outbox.Lane(lane)]) {
				m.t.Fatalf("%.20s of lane %d is lost (staged %v, declared %v)", b, lane, staged[b], declared)
			}
			delete(got, b)
		}
		if !slices.IsSortedFunc(m.fresh[lane], func(a, b string) int { return m.seq[a] - m.seq[b] }) {
			m.t.Fatalf("lane %d out of order: %v", lane, brief(m.fresh[lane]))
		}
		m.back[lane], m.fresh[lane] = m.fresh[lane], nil
	}
	for b := range got {
		if !unsure[b] {
			m.t.Fatalf("%.20s was acknowledged and is back", b)
		}
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

// copyDir copies what is in use of each file, without the holes.
func copyDir(t interface{ Fatal(...any) }, from, to string) {
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		copyFile(t, filepath.Join(from, n.Name()), filepath.Join(to, n.Name()))
	}
}

// copyFile copies what the newer meta page says is in use, without the hole behind it.
func copyFile(t interface{ Fatal(...any) }, from, to string) {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return // unlinked meanwhile: the caller tries again
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	var head [8192]byte
	if _, err := in.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	pages := max(binary.NativeEndian.Uint64(head[56:]), binary.NativeEndian.Uint64(head[4096+56:]))
	b := make([]byte, pages*4096)
	if _, err := in.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
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
