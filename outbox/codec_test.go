package outbox

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iotagent/outbox/internal/segment"
)

func unexported() cmp.Option {
	return cmp.AllowUnexported(state{}, laneState{}, span{}, tally{}, seg{}, segLane{}, gapEntry{})
}

func drawSpans(t *rapid.T) (out spans) {
	at := uint64(1)
	for range rapid.IntRange(0, 5).Draw(t, "spans") {
		from := at + rapid.Uint64Range(1, 1<<40).Draw(t, "hole")
		to := from + rapid.Uint64Range(0, 1<<40).Draw(t, "len")
		out, at = append(out, span{from, to}), to+1
	}
	return out
}

func drawState(t *rapid.T) (s state) {
	number := rapid.Uint64()
	s = state{
		epoch: number.Draw(t, "epoch"), maxLoss: time.Duration(rapid.Int64().Draw(t, "max loss")), deadDropped: number.Draw(t, "dropped"),
		order: number.Draw(t, "order"),
	}
	for i := range s.lane {
		s.lanes[i] = rapid.Bool().Draw(t, "lane")
		s.lane[i] = laneState{
			head: number.Draw(t, "head"), done: drawSpans(t),
			removed: tally{number.Draw(t, "messages"), number.Draw(t, "bytes"), number.Draw(t, "readings")},
		}
	}
	return s
}

// flipped returns b with one bit changed.
func flipped(t *rapid.T, b []byte) []byte {
	c := bytes.Clone(b)
	c[rapid.IntRange(0, len(c)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	return c
}

func TestStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		b := s.encode()
		got, err := decodeState(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, got, unexported()); d != "" {
			t.Fatal(d)
		}
		if _, err := decodeState(flipped(t, b)); err == nil {
			t.Fatal("a flipped bit went unseen")
		}
	})
}

func drawSeg(t *rapid.T) *seg {
	s := &seg{
		order: rapid.Uint64().Draw(t, "order"), gen: rapid.Uint32().Draw(t, "gen"), level: rapid.Byte().Draw(t, "level"),
		active: rapid.Bool().Draw(t, "active"),
	}
	var runs []segment.Run
	for lane := range uint8(lanes) {
		s.touched[lane] = rapid.Bool().Draw(t, "touched")
		for run := range uint32(rapid.IntRange(0, 3).Draw(t, "runs")) {
			first := rapid.Uint64Range(1, 1<<30).Draw(t, "first")
			runs = append(runs, segment.Run{
				Lane: lane, Epoch: rapid.Uint64().Draw(t, "epoch"), First: placeOf(run+1, first),
				Last:  placeOf(run+1, first+rapid.Uint64Range(0, 1<<30).Draw(t, "more")),
				Count: rapid.Uint64Range(1, 1<<30).Draw(t, "count"), Readings: rapid.Uint64Range(0, 1<<40).Draw(t, "readings"),
				Bytes: rapid.Uint64Range(0, 1<<40).Draw(t, "bytes"), Oldest: rapid.Int64Range(-9e15, 9e15).Draw(t, "oldest"),
				Newest: rapid.Int64Range(-9e15, 9e15).Draw(t, "newest"),
			})
		}
	}
	s.summarize(runs)
	return s
}

func TestCatalogRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSeg(t)
		b := s.encode()
		got, err := decodeSeg(bigEndian(s.order), b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, got, unexported()); d != "" {
			t.Fatal(d)
		}
		if _, err := decodeSeg(bigEndian(s.order), flipped(t, b)); err == nil {
			t.Fatal("a flipped bit went unseen")
		}
		if _, err := decodeSeg(flipped(t, bigEndian(s.order)), b); err == nil {
			t.Fatal("a flipped bit of the key went unseen")
		}
	})
}

func drawGap(t *rapid.T) Gap {
	n := rapid.Uint64()
	return Gap{
		Epoch: n.Draw(t, "epoch"), Lane: Lane(rapid.IntRange(0, lanes-1).Draw(t, "lane")), From: n.Draw(t, "from"), To: n.Draw(t, "to"),
		Messages: n.Draw(t, "messages"), Readings: n.Draw(t, "readings"), AtMost: rapid.Bool().Draw(t, "at most"),
		Within: time.Duration(rapid.Int64().Draw(t, "within")),
		Reason: rapid.SampledFrom([]string{reasonQuota, reasonMemory, reasonDamage, reasonUnclean, reasonPurged}).Draw(t, "reason"),
	}
}

func TestGapRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &gapEntry{gap: drawGap(t), place: rapid.Uint64().Draw(t, "place"), put: rapid.Int64().Draw(t, "put"), shut: true}
		g.id = ID{Epoch: rapid.Uint64().Draw(t, "id epoch"), Lane: g.gap.Lane, Seq: rapid.Uint64().Draw(t, "seq")}
		b := g.encode()
		got, err := decodeGap(g.key(), b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(g, got, unexported()); d != "" {
			t.Fatal(d)
		}
		if _, err := decodeGap(g.key(), flipped(t, b)); err == nil {
			t.Fatal("a flipped bit went unseen")
		}
		if _, err := decodeGap(flipped(t, g.key()), b); err == nil {
			t.Fatal("a flipped bit of the key went unseen")
		}
	})
}

func TestDeadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func() time.Time { return time.UnixMilli(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "ms")).UTC() }
		d := DeadLetter{
			ID:       ID{rapid.Uint64().Draw(t, "epoch"), Lane(rapid.IntRange(0, lanes-1).Draw(t, "lane")), rapid.Uint64().Draw(t, "seq")},
			Readings: rapid.IntRange(0, 1<<31-1).Draw(t, "readings"), Reason: rapid.StringN(0, 200, maxReason).Draw(t, "reason"),
			At: at(), Put: at(), Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		if rapid.Bool().Draw(t, "gap") {
			g := drawGap(t)
			d.Gap, d.Body = &g, nil
		}
		b := d.encode()
		got, err := decodeDead(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, got); diff != "" {
			t.Fatal(diff)
		}
		if _, err := decodeDead(flipped(t, b)); err == nil {
			t.Fatal("a flipped bit went unseen")
		}
	})
}

// golden are values of format version 1 as control.db keeps them. testdata/control.v1.txt has their bytes, which are not to be made anew:
// what changes a format raises its version, and goes on reading these.
func golden() map[string][]byte {
	st := state{epoch: 0x0123456789ABCDEF, lanes: [lanes]bool{true, false, true}, maxLoss: 10 * time.Second, deadDropped: 3, order: 44}
	st.lane[0] = laneState{head: placeOf(7, 100), removed: tally{12, 3456, 24}}
	st.lane[2] = laneState{head: placeOf(6, 1), done: spans{{placeOf(6, 5), placeOf(6, 9)}, {placeOf(7, 1), placeOf(7, 1)}}}
	s := &seg{order: 44, gen: 2, level: 1, active: true, touched: [lanes]bool{false, true, false}}
	s.summarize([]segment.Run{
		{Lane: 0, Epoch: 1 << 63, First: placeOf(6, 1), Last: placeOf(6, 40), Count: 40, Readings: 400, Bytes: 8000, Oldest: 1777863801710, Newest: 1777863802710},
		{Lane: 2, Epoch: 5, First: placeOf(7, 3), Last: placeOf(7, 3), Count: 1, Bytes: 300, Oldest: -1, Newest: -1},
	})
	g := Gap{Epoch: 5, Lane: Bulk, From: 3, To: 9, Messages: 7, Readings: 70, AtMost: true, Within: time.Second, Reason: reasonUnclean}
	ge := &gapEntry{id: ID{9, Bulk, 4}, place: placeOf(7, 9), gap: g, put: 1777863801710}
	at := time.UnixMilli(1777863801710).UTC()
	letter := DeadLetter{ID: ID{9, Normal, 4}, Readings: 3, Reason: "too large", At: at, Put: at.Add(-time.Minute), Body: []byte("body")}
	refused := DeadLetter{ID: ID{9, Bulk, 4}, Reason: "no", At: at, Put: at, Gap: &g}
	return map[string][]byte{
		"state": st.encode(), "segment": s.encode(), "gap key": ge.key(), "gap": ge.encode(), "letter": letter.encode(), "refused gap": refused.encode(),
	}
}

func TestGolden(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "control.v1.txt"))
	if err != nil {
		t.Fatal(err)
	}
	now := golden()
	n := 0
	for line := range strings.Lines(string(text)) {
		name, bytes, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if got := hex.EncodeToString(now[name]); got != bytes {
			t.Errorf("%s changed to\n%s, was\n%s", name, got, bytes)
		}
		n++
	}
	if n != len(now) {
		t.Errorf("%d of %d were compared", n, len(now))
	}
}

// The fuzzers are given what a checksum protects, so that they get behind it.

func FuzzState(f *testing.F) {
	f.Add(golden()["state"][5:])
	f.Add((&state{lane: [lanes]laneState{{done: spans{{5, 9}, {3, 4}}}}}).encode()[5:])
	f.Add((&state{lane: [lanes]laneState{{done: spans{{5, 4}}}}}).encode()[5:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(seal(stateVersion, nil, b))
		if err != nil {
			return
		}
		again, err := decodeState(s.encode())
		if d := cmp.Diff(s, again, unexported()); err != nil || d != "" {
			t.Fatalf("%v\n%s", err, d)
		}
		last := uint64(0)
		for i := range s.lane {
			for j, x := range s.lane[i].done {
				if j > 0 && x.from <= last || x.to < x.from {
					t.Fatalf("spans that do not rise: %v", s.lane[i].done)
				}
				last = x.to
			}
		}
	})
}

func FuzzCatalog(f *testing.F) {
	f.Add(golden()["segment"][5:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSeg(bigEndian(3), seal(catalogVersion, bigEndian(3), b))
		if err != nil {
			return
		}
		again, err := decodeSeg(bigEndian(3), s.encode())
		if d := cmp.Diff(s, again, unexported()); err != nil || d != "" {
			t.Fatalf("%v\n%s", err, d)
		}
		if _, _, ok := parseSegName(s.name()); !ok {
			t.Fatalf("name %q", s.name())
		}
	})
}

func FuzzGap(f *testing.F) {
	f.Add(golden()["gap key"], golden()["gap"][5:])
	f.Add([]byte{}, []byte("{}"))
	f.Fuzz(func(t *testing.T, k, b []byte) {
		g, err := decodeGap(k, seal(gapVersion, k, b))
		if err != nil {
			return
		}
		if !bytes.Equal(g.key(), k) {
			t.Fatalf("key %x became %x", k, g.key())
		}
		again, err := decodeGap(k, g.encode())
		if d := cmp.Diff(g, again, unexported()); err != nil || d != "" {
			t.Fatalf("%v\n%s", err, d)
		}
	})
}

func FuzzDead(f *testing.F) {
	f.Add(golden()["letter"][5:])
	f.Add(golden()["refused gap"][5:])
	f.Add(append(appendNumbers(nil, 1, 2, 3, 4, 0, 0, 10, math.MaxUint64-4), "lengths that wrap around"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDead(seal(deadVersion, nil, b))
		if err != nil {
			return
		}
		again, err := decodeDead(d.encode())
		if diff := cmp.Diff(d, again); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

// FuzzOld: whatever is said to come from an earlier version, it is refused or has a lane and a body.
func FuzzOld(f *testing.F) {
	f.Add(make([]byte, 9), make([]byte, oldHeader+5))
	f.Add([]byte{}, make([]byte, oldDeadHeader))
	f.Fuzz(func(t *testing.T, k, v []byte) {
		if len(v) >= oldHeader {
			v = bytes.Clone(v)
			v[4] = 1
			copy(v, seal(1, nil, v[5:])[:4])
			if _, ok := decodeOldDead(v); ok && len(v) < oldDeadHeader+oldHeader {
				t.Fatalf("a letter of %d bytes", len(v))
			}
			sum := checksum(slices.Concat(k, v[4:]))
			v[0], v[1], v[2], v[3] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
		}
		if r, ok := decodeOld(k, v); ok && (r.id.Lane >= lanes || len(r.body) != len(v)-oldHeader) {
			t.Fatalf("%+v", r)
		}
	})
}
