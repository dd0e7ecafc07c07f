package outbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

const page = 4096

// drained is what came out of an outbox with damage.
type drained struct {
	s       *stock
	got     map[outbox.ID]bool
	ids     map[outbox.ID]bool // of gaps too
	last    [3]int
	gaps    []*outbox.Gap
	letters map[string]string
	waited  int  // gaps that were there before
	control bool // was damaged: it may be as before the stop
	exact   bool // the catalog knows what was lost
}

func (s *stock) drained() *drained {
	return &drained{s: s, got: map[outbox.ID]bool{}, ids: map[outbox.ID]bool{}, letters: map[string]string{}}
}

// drain takes everything out and acknowledges it.
func (d *drained) drain(t *testing.T, q *outbox.Outbox) {
	t.Helper()
	for idle := 0; idle < 8; idle++ { // each file may be found to be damaged by itself
		for es := next(t, q, 100); len(es) > 0; es = next(t, q, 100) {
			idle = 0
			for _, e := range es {
				d.take(t, e)
				if err := q.Ack(e.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := q.Sync(t.Context()); err != nil { // what a read met is mended then
			t.Fatal(err)
		}
	}
	if st := q.Stats(); st.Queued != [3]uint64{} || st.Bytes != [3]uint64{} || st.InFlight != 0 || st.Degraded != "" || len(st.SetAside) > 3 {
		t.Errorf("after the drain: %+v", st)
	}
	dead, err := q.DeadLetters(100)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range dead {
		d.letters[string(l.Body)] = l.Reason
	}
}

func (d *drained) take(t *testing.T, e outbox.Entry) {
	t.Helper()
	if d.ids[e.ID] {
		t.Errorf("%s came twice", e.ID)
	}
	d.ids[e.ID] = true
	if g := e.Gap; g != nil {
		if e.ID.Seq == 0 || g.Lane != e.ID.Lane {
			t.Errorf("%s of another lane or without a number: %+v", e.ID, g)
		}
		if _, ok := d.s.gaps[e.ID]; ok {
			d.waited++
		} else {
			if g.Reason != "damage" && !(d.control && g.Reason == "unclean-stop") {
				t.Errorf("gap %+v", g)
			}
			d.gaps = append(d.gaps, g)
		}
		return
	}
	if _, ok := d.s.bodies[e.ID]; !ok && d.control { // nobody knows its epoch any more
		for id, body := range d.s.bodies {
			if body == string(e.Body) {
				e.ID = id
			}
		}
		if d.got[e.ID] {
			t.Errorf("%s came with another id", e.ID)
		}
	}
	if body, ok := d.s.bodies[e.ID]; !ok || body != string(e.Body) {
		t.Fatalf("%s came out changed: %.20q, want %.20q", e.ID, e.Body, body)
	}
	if n := d.s.order[e.ID]; n <= d.last[e.ID.Lane] && d.last[e.ID.Lane] > 0 {
		t.Errorf("%s, put %d, after %d", e.ID, n, d.last[e.ID.Lane])
	}
	d.last[e.ID.Lane] = d.s.order[e.ID]
	d.got[e.ID] = true
}

// unknown says that a gap has no count.
func unknown(gs []*outbox.Gap) bool {
	return slices.ContainsFunc(gs, func(g *outbox.Gap) bool { return g.Messages == 0 })
}

func (d *drained) covered(id outbox.ID) bool {
	return slices.ContainsFunc(d.gaps, func(g *outbox.Gap) bool {
		return g.Epoch == 0 || g.Epoch == id.Epoch && g.Lane == id.Lane && id.Seq >= g.From && (g.To == 0 || id.Seq <= g.To)
	})
}

// judge holds what came out against what was in: each loss is declared, and counted right where it can be. It returns how many were lost.
func (d *drained) judge(t *testing.T) (lost uint64) {
	t.Helper()
	declared := uint64(0)
	defer func() {
		if t.Failed() {
			t.Logf("gaps:\n%s", show(d.gaps))
		}
	}()
	for _, g := range d.gaps {
		declared += g.Messages
		if g.Messages == 0 && !g.AtMost {
			t.Errorf("gap of nothing: %+v", g)
		}
	}
	for id := range d.s.queued {
		if d.got[id] {
			continue
		}
		if lost++; !d.covered(id) {
			t.Errorf("%s is lost and not declared", id)
		}
	}
	if nobody := slices.ContainsFunc(d.gaps, func(g *outbox.Gap) bool { return g.Epoch == 0 }); d.waited < len(d.s.gaps) && !nobody {
		t.Errorf("a gap is lost and not declared")
	}
	atMost := slices.ContainsFunc(d.gaps, func(g *outbox.Gap) bool { return g.AtMost })
	if !unknown(d.gaps) && (declared < lost || declared > lost && (!atMost || d.exact)) {
		t.Errorf("%d lost, %d declared: %s", lost, declared, show(d.gaps))
	}
	return lost
}

// outcome is what became of a damaged directory.
type outcome struct {
	lost, again int // messages, and those that were done and came again
	gaps        []*outbox.Gap
	lettersLost int
	aside       int
}

// survive looks into a damaged directory, opens it, drains it and judges.
func (s *stock) survive(t *testing.T, dir, spoiled string) (r outcome) {
	t.Helper()
	s.lookInto(t, dir, spoiled)
	q, err := outbox.Open(dir, s.opt())
	if err != nil {
		t.Fatal(err)
	}
	d := s.drained()
	d.control = spoiled == "control.db"
	d.exact = spoiled == "000000000003.seg" // nothing of it was settled
	d.drain(t, q)
	r.lost, r.gaps = int(d.judge(t)), d.gaps
	r.again = len(d.got) + r.lost - len(s.queued)
	for body, why := range d.letters {
		if s.letters[body] != why {
			t.Errorf("a letter changed: %.20q, %q", body, why)
		}
	}
	r.lettersLost = len(s.letters) - len(d.letters)
	ids := put(t, q, outbox.Normal, "after")
	if _, known := s.bodies[ids[0]]; known {
		t.Errorf("%s was given twice", ids[0])
	}
	r.aside = len(q.Stats().SetAside)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	outboxtest.Check(t, dir)
	return r
}

// lookInto opens the directory for looking: nothing of it changes, and nothing but what was put is shown.
func (s *stock) lookInto(t *testing.T, dir, spoiled string) {
	t.Helper()
	before := tree(t, dir)
	o := s.opt()
	o.ReadOnly = true
	q, err := outbox.Open(dir, o)
	if err != nil {
		t.Fatalf("for looking: %v", err)
	}
	err = q.Scan(t.Context(), outbox.ScanOptions{Bodies: true}, func(it outbox.Item) error {
		if it.Gap == nil && s.bodies[it.ID] != string(it.Body) && spoiled != "control.db" {
			return fmt.Errorf("%s shown changed", it.ID)
		}
		return nil
	})
	if err != nil && !bytes.Contains([]byte(err.Error()), []byte("segment")) {
		t.Errorf("scan: %v", err)
	}
	if _, err := q.Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
	if _, err := q.Repair(t.Context()); !errors.Is(err, outbox.ErrReadOnly) {
		t.Errorf("repair: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("looking changed %v to %v", before, after)
	}
}

// tree lists the files of a directory with a sum of what is in them.
func tree(t *testing.T, dir string) (out []string) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %d %x", n.Name(), len(b), checksum(b)))
	}
	return out
}

func checksum(b []byte) (sum uint64) {
	for _, c := range b {
		sum = sum*1099511628211 + uint64(c)
	}
	return sum
}

// TestDamage spoils every page of each kind of file in turn, in several ways, and cuts the file there.
func TestDamage(t *testing.T) {
	s := newStock(t)
	if r := s.survive(t, s.with(t, "", nil), ""); r.lost+r.again+r.lettersLost+len(r.gaps)+r.aside > 0 {
		t.Fatalf("from the sound one: %+v", r)
	}
	ways := map[string]func(file []byte, at int, r *rand.Rand) []byte{
		"zeroed":    func(f []byte, at int, _ *rand.Rand) []byte { clear(f[at:][:page]); return f },
		"torn":      func(f []byte, at int, _ *rand.Rand) []byte { clear(f[at+page/2:][:page/2]); return f },
		"bit":       func(f []byte, at int, r *rand.Rand) []byte { f[at+r.IntN(page)] ^= 1 << r.IntN(8); return f },
		"truncated": func(f []byte, at int, _ *rand.Rand) []byte { return f[:at] },
	}
	stride := page
	if testing.Short() { // on an emulated machine
		stride = 5 * page
		t.Log("every fifth page only: -short")
	}
	for name, file := range s.files {
		if name == "000000000002.seg" || name == "000000000004.seg" {
			continue // as their neighbours
		}
		for way, spoil := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(1, 2))
				worst := 0
				for at := 0; at < len(file); at += stride {
					got := s.survive(t, s.with(t, name, spoil(bytes.Clone(file), at, r)), name)
					if worst = max(worst, got.lost); got.lost > 0 && got.aside != 1 {
						t.Errorf("%d set aside", got.aside)
					}
					if t.Failed() {
						t.Fatalf("with page %d of %d spoiled: %+v", at/page, len(file)/page, got)
					}
				}
				if way != "truncated" && worst > 50 { // of 1 100: open blocks of three lanes, or the blocks that one page is a part of
					t.Errorf("one page cost %d messages", worst)
				}
			})
		}
	}
}

// TestDamagedWhole replaces each file by something else, or takes it away.
func TestDamagedWhole(t *testing.T) {
	s := newStock(t)
	for name, file := range s.files {
		for what, now := range map[string][]byte{
			"missing": nil, "empty": {}, "zeros": make([]byte, len(file)), "few zeros": make([]byte, 3*page),
			"text": bytes.Repeat([]byte("Lorem ipsum dolor sit amet, "), 2000), "short text": []byte("oops"),
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				r := s.survive(t, s.with(t, name, now), name)
				switch {
				case r.lost > 0 && what != "missing" && r.aside != 1:
					t.Errorf("%d set aside", r.aside)
				case name == "control.db" && (r.lost > 0 || len(r.gaps) == 0):
					t.Errorf("all messages are there, but nobody knows what else was: %+v", r)
				case name != "control.db" && r.lost < 100:
					t.Errorf("where do they come from? %+v", r)
				}
			})
		}
	}
}

func show(gs []*outbox.Gap) (s string) {
	for _, g := range gs {
		s += fmt.Sprintf("%+v\n", *g)
	}
	return s
}

// TestDamageEverywhere spoils pages of several files at once.
func TestDamageEverywhere(t *testing.T) {
	s := newStock(t)
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 9))
			dir := s.with(t, "", nil)
			spoiled := ""
			for _, name := range slices.Sorted(maps.Keys(s.files)) {
				if r.IntN(2) == 0 {
					continue
				}
				file := bytes.Clone(s.files[name])
				for range 1 + r.IntN(6) {
					at := r.IntN(len(file) / page)
					switch p := file[at*page:][:page]; r.IntN(5) {
					case 0:
						clear(p)
					case 1:
						clear(p[page/2:])
					case 2:
						p[r.IntN(page)] ^= 1 << r.IntN(8)
					case 3:
						copy(p, file[r.IntN(len(file)/page)*page:][:page]) // written in the wrong place
					default:
						file = file[:max(at, 1)*page]
					}
				}
				if err := os.WriteFile(filepath.Join(dir, name), file, 0o600); err != nil {
					t.Fatal(err)
				}
				if name == "control.db" {
					spoiled = name
				}
			}
			s.survive(t, dir, spoiled)
		})
	}
}
