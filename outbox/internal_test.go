package outbox

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s spans
		set := map[uint64]bool{}
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			from := rapid.Uint64Range(1, 40).Draw(t, "from")
			to := min(40, from+rapid.Uint64Range(0, 6).Draw(t, "more"))
			s = s.add(span{from, to})
			for p := from; p <= to; p++ {
				set[p] = true
			}
		}
		for i, x := range s {
			if x.to < x.from || i > 0 && x.from <= s[i-1].to+1 {
				t.Fatalf("%v is not apart or does not rise", s)
			}
		}
		for p := range uint64(44) {
			if s.has(p) != set[p] {
				t.Fatalf("%d in %v: %v", p, s, s.has(p))
			}
			to := p + rapid.Uint64Range(0, 5).Draw(t, "len")
			all, some := true, false
			for q := p; q <= to; q++ {
				all, some = all && set[q], some || set[q]
			}
			if s.covers(p, to) != all || s.touches(p, to) != some {
				t.Fatalf("%d to %d in %v: covers %v, touches %v", p, to, s, s.covers(p, to), s.touches(p, to))
			}
			for _, x := range s.before(p) {
				if x.to < p {
					t.Fatalf("before(%d) of %v left %v", p, s, x)
				}
			}
			for q := p; q < 44; q++ {
				if s.before(p).has(q) != set[q] {
					t.Fatalf("before(%d) of %v forgot %d", p, s, q)
				}
			}
		}
	})
}

// TestWindow holds a window against a sorted list of places with their states.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		var places []uint64
		states := map[uint64]slotState{}
		next := uint64(1)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(1, 50).Draw(t, "count") {
					next += rapid.Uint64Range(1, 2).Draw(t, "step")
					places = append(places, next)
					w.push(slot{place: next, state: flying})
					states[next] = flying
				}
			},
			"push before": func(t *rapid.T) {
				p := rapid.Uint64Range(1, next+1).Draw(t, "place")
				if at, ok := slices.BinarySearch(places, p); !ok {
					places = slices.Insert(places, at, p)
					w.push(slot{place: p, state: released})
					states[p] = released
					next = max(next, p)
				}
			},
			"done": func(t *rapid.T) {
				if len(places) > 0 {
					p := rapid.SampledFrom(places).Draw(t, "place")
					w.find(p).state = done
					states[p] = done
				}
			},
			"settle": func(*rapid.T) {
				w.settle()
				for len(places) > 0 && states[places[0]] == done {
					delete(states, places[0])
					places = places[1:]
				}
			},
			"": func(t *rapid.T) {
				if w.len() != len(places) {
					t.Fatalf("%d slots, want %d", w.len(), len(places))
				}
				for i, p := range places {
					if w.at(i).place != p || w.at(i).state != states[p] || w.find(p) != w.at(i) {
						t.Fatalf("slot %d is %+v, want %d", i, w.at(i), p)
					}
				}
				p := rapid.Uint64Range(0, next+2).Draw(t, "search")
				at, ok := slices.BinarySearch(places, p)
				if w.search(p) != at || (w.find(p) != nil) != ok {
					t.Fatalf("search(%d) = %d, want %d in %v", p, w.search(p), at, places)
				}
			},
		})
	})
}

func TestSegNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		order, gen := rapid.Uint64().Draw(t, "order"), rapid.Uint32().Draw(t, "gen")
		o, g, ok := parseSegName(segName(order, gen))
		if !ok || o != order || g != gen {
			t.Fatalf("%s is %d, %d, %v", segName(order, gen), o, g, ok)
		}
	})
	for _, name := range []string{
		"", ".seg", "1.seg", "000000000001", "000000000001.seg.corrupt-20260504T030201Z", "000000000001.0.seg", "000000000001.1.2.seg",
		"000000000001.seg.tmp", "0000000000001.seg", "-00000000001.seg", "00000000000a.seg", "000000000001.4294967296.seg", "000000000001.01.seg",
		"99999999999999999999.seg", "+00000000001.seg", "000000000001..seg", "outbox.db",
	} {
		if o, g, ok := parseSegName(name); ok {
			t.Errorf("%q is taken for segment %d of generation %d", name, o, g)
		}
	}
}

func TestPlaces(t *testing.T) {
	for _, tt := range []struct {
		run uint32
		seq uint64
	}{{1, 1}, {1<<24 - 1, 1<<40 - 1}, {5, 0}} {
		if p := placeOf(tt.run, tt.seq); runOf(p) != tt.run || seqOf(p) != tt.seq {
			t.Errorf("%d, %d became %d, %d", tt.run, tt.seq, runOf(p), seqOf(p))
		}
	}
	if placeOf(2, 1) <= placeOf(1, 1<<40-1) {
		t.Error("places of a later run must be behind all of an earlier one")
	}
}
