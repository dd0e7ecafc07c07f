package segment_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"iotagent/outbox/internal/segment"
)

// model is a segment beside all that was appended to it.
type model struct {
	s    *segment.Segment
	o    *segment.Options
	want [segment.Lanes][]segment.Record
	run  uint64
}

func (m *model) next(lane int) uint64 {
	if n := len(m.want[lane]); n > 0 && m.want[lane][n-1].Pos>>40 == m.run {
		return m.want[lane][n-1].Pos + 1
	}
	return m.run << 40
}

func (m *model) append(t *rapid.T) {
	recs := new([segment.Lanes][]segment.Record)
	for range rapid.IntRange(1, 4).Draw(t, "groups") {
		lane := rapid.IntRange(0, 2).Draw(t, "lane")
		size := rapid.SampledFrom([]int{0, 3, 100, 1000, 30_000, 70_000}).Draw(t, "size")
		random := rapid.Bool().Draw(t, "random")
		for range rapid.IntRange(1, 1+min(200, 50_000/(size+1))).Draw(t, "n") {
			pos := m.next(lane)
			if k := len(recs[lane]); k > 0 {
				pos = recs[lane][k-1].Pos + 1
			}
			recs[lane] = append(recs[lane], segment.Record{
				Pos: pos + uint64(rapid.IntRange(0, 3).Draw(t, "skip")), Put: rapid.Int64().Draw(t, "put"), Flags: rapid.Byte().Draw(t, "flags"),
				Readings: rapid.Uint32().Draw(t, "readings"), Span: uint64(rapid.IntRange(0, 2).Draw(t, "span")), Body: body(pos, size, random),
			})
		}
	}
	_, err := m.s.Append(recs, epoch)
	if errors.Is(err, segment.ErrFull) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for lane := range recs {
		m.want[lane] = append(m.want[lane], recs[lane]...)
	}
}

func body(seed uint64, size int, random bool) []byte {
	b := make([]byte, size)
	for i := range b {
		if b[i] = byte(i / 10); random {
			seed = seed*6364136223846793005 + 1442695040888963407
			b[i] = byte(seed >> 56)
		}
	}
	return b
}

func (m *model) reopen(t *rapid.T) {
	trim := rapid.Bool().Draw(t, "trim")
	if trim {
		if err := m.s.Trim(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.s, err = segment.Open(m.s.Path(), m.o); err != nil {
		t.Fatal(err)
	}
}

// read looks up a place and wants the block that holds it, or the next one.
func (m *model) read(t *rapid.T) {
	lane := rapid.IntRange(0, 2).Draw(t, "lane")
	pos := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(1<<40, 1<<40+2000), rapid.Uint64Range(2<<40, 2<<40+2000)).Draw(t, "pos")
	if n := len(m.want[lane]); n > 0 && rapid.Bool().Draw(t, "known") {
		pos = m.want[lane][rapid.IntRange(0, n-1).Draw(t, "i")].Pos
	}
	got, err := m.s.Read(uint8(lane), pos)
	if err != nil {
		t.Fatal(err)
	}
	all := m.want[lane]
	first := slices.IndexFunc(all, func(r segment.Record) bool { return r.Pos >= pos })
	if first < 0 || len(got) == 0 {
		if first >= 0 || got != nil {
			t.Fatalf("lane %d, %d: %d records, want some: %v", lane, pos, len(got), first >= 0)
		}
		return
	}
	from := slices.IndexFunc(all, func(r segment.Record) bool { return r.Pos == got[0].Pos })
	if from < 0 || from > first || from+len(got) <= first || !slices.EqualFunc(all[from:from+len(got)], got, equal) {
		t.Fatalf("lane %d, %d: block from %d of %d records", lane, pos, got[0].Pos, len(got))
	}
}

func TestModel(t *testing.T) {
	codec, dir, n := segment.NewCodec(), quickDir(t), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		m := &model{o: &segment.Options{Codec: codec, TailBytes: rapid.SampledFrom([]int{0, 1, 700, 2500}).Draw(t, "tail")}, run: 1}
		var err error
		if m.s, err = segment.Create(fmt.Sprintf("%s/%d.seg", dir, n), m.o); err != nil {
			t.Fatal(err)
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append,
			"reopen": m.reopen,
			"read":   m.read,
			"run":    func(*rapid.T) { m.run++ },
			"bad": func(t *rapid.T) {
				if n := len(m.want[1]); n > 0 {
					if _, err := m.s.Append(&[segment.Lanes][]segment.Record{1: {m.want[1][n-1]}}, epoch); err == nil {
						t.Fatal("a place was taken twice")
					}
				}
			},
		})
		checkAgainst(t, m.s, &m.want)
		if err := m.s.Close(); err != nil {
			t.Fatal(err)
		}
		checkSalvage(t, m)
	})
}

// checkSalvage wants everything from a file that nothing is wrong with.
func checkSalvage(t *rapid.T, m *model) {
	got := new([segment.Lanes][]segment.Record)
	sum, epochs, err := segment.Salvage(m.s.Path(), m.o, func(lane uint8, r segment.Record) error {
		got[lane] = append(got[lane], r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for lane := range got {
		if !slices.EqualFunc(got[lane], m.want[lane], equal) {
			t.Fatalf("lane %d: %d salvaged of %d", lane, len(got[lane]), len(m.want[lane]))
		}
	}
	if sum == nil && len(m.want[0])+len(m.want[1])+len(m.want[2]) > 0 {
		t.Fatal("no summary")
	}
	for pos, e := range epochs {
		if e != epoch(pos) {
			t.Fatalf("epoch of %d is %x", pos, e)
		}
	}
}

func TestFull(t *testing.T) {
	s := create(t, quickDir(t), nil)
	want := new([segment.Lanes][]segment.Record)
	for i := uint64(1); ; i++ {
		recs := &[segment.Lanes][]segment.Record{{{Pos: i, Body: body(i, 250_000, true)}}, {{Pos: i, Body: body(i, 10, true)}}}
		_, err := s.Append(recs, epoch)
		if errors.Is(err, segment.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for lane := range want {
			want[lane] = append(want[lane], recs[lane]...)
		}
	}
	if s.Used() < 10<<20 || s.Used() > 16<<20 {
		t.Errorf("full at %d bytes", s.Used())
	}
	small := &[segment.Lanes][]segment.Record{2: {{Pos: 1, Body: []byte("small")}}}
	add(t, s, small)
	want[2] = small[2]
	checkAgainst(t, s, want)
}

func TestFullOfRuns(t *testing.T) {
	s := create(t, quickDir(t), nil)
	want := new([segment.Lanes][]segment.Record)
	for run := range uint64(64) {
		recs := new([segment.Lanes][]segment.Record)
		recs[run%3] = []segment.Record{{Pos: run << 40, Body: []byte("one")}}
		add(t, s, recs)
		want[run%3] = append(want[run%3], recs[run%3]...)
	}
	for _, pos := range []uint64{64 << 40, math.MaxUint64} {
		if _, err := s.Append(&[segment.Lanes][]segment.Record{1: {{Pos: pos}}}, epoch); !errors.Is(err, segment.ErrFull) {
			t.Errorf("a 65th run: %v", err)
		}
	}
	recs := &[segment.Lanes][]segment.Record{{{Pos: 63<<40 | 9, Body: []byte("more of a run that is there")}}}
	add(t, s, recs)
	want[0] = append(want[0], recs[0]...)
	checkAgainst(t, s, want)
}

// TestReadersBeside reads while blocks move from the tails to the bucket: a reader sees a prefix, without holes.
func TestReadersBeside(t *testing.T) {
	s, f := create(t, quickDir(t), nil), newFeed()
	var batches []*[segment.Lanes][]segment.Record
	for range 150 {
		batches = append(batches, f.batch(30))
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for pos := uint64(1 << 40); ; {
				recs, err := s.Read(1, pos)
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range recs {
					if r.Pos == pos || r.Pos == pos+1 || r.Pos < pos {
						pos = max(pos, r.Pos)
						continue
					}
					t.Errorf("%d after %d", r.Pos, pos)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for _, b := range batches {
		add(t, s, b)
	}
	close(done)
	readers.Wait()
}

func TestReserveAndTrim(t *testing.T) {
	s, f := create(t, t.TempDir(), nil), newFeed()
	add(t, s, f.batch(100))
	before := s.DiskBytes()
	if err := s.Reserve(1 << 20); err != nil {
		t.Fatal(err)
	}
	if got := s.DiskBytes(); got < before+1<<20-1<<16 && got != before { // where the file system cannot, nothing happens
		t.Errorf("%d bytes on disk, %d before", got, before)
	}
	want := f.batch(1000)
	add(t, s, want)
	if err := s.Trim(); err != nil {
		t.Fatal(err)
	}
	if got := s.DiskBytes(); got > s.Used()+64<<10 {
		t.Errorf("%d bytes on disk after trimming, %d are used", got, s.Used())
	}
	add(t, s, f.batch(1000)) // it can go on all the same
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
}
