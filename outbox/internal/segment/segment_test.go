package segment_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iotagent/outbox/internal/segment"
)

func equal(a, b segment.Record) bool {
	return a.Pos == b.Pos && a.Put == b.Put && a.Flags == b.Flags && a.Readings == b.Readings && a.Span == b.Span && bytes.Equal(a.Body, b.Body)
}

// readAll reads a lane from its start, block by block.
func readAll(t rapid.TB, s *segment.Segment, lane uint8) (all []segment.Record) {
	t.Helper()
	for pos := uint64(0); ; {
		recs, err := s.Read(lane, pos)
		if err != nil {
			t.Fatal(err)
		}
		if recs == nil {
			return all
		}
		all = append(all, recs...)
		pos = recs[len(recs)-1].Pos + 1
	}
}

// checkAgainst holds a segment against what was appended.
func checkAgainst(t rapid.TB, s *segment.Segment, want *[segment.Lanes][]segment.Record) {
	t.Helper()
	var runs []segment.Run
	for lane := range want {
		if got := readAll(t, s, uint8(lane)); !slices.EqualFunc(want[lane], got, equal) {
			t.Fatalf("lane %d: %s", lane, cmp.Diff(want[lane], got))
		}
		for i, r := range want[lane] {
			if i == 0 || r.Pos>>40 != want[lane][i-1].Pos>>40 {
				runs = append(runs, segment.Run{Lane: uint8(lane), Epoch: epoch(r.Pos), First: r.Pos, Oldest: r.Put, Newest: r.Put})
			}
			run := &runs[len(runs)-1]
			run.Last = r.Pos
			run.Count++
			run.Readings += uint64(r.Readings)
			run.Bytes += uint64(len(r.Body))
			run.Oldest, run.Newest = min(run.Oldest, r.Put), max(run.Newest, r.Put)
		}
	}
	if diff := cmp.Diff(runs, s.Summary().Runs); diff != "" {
		t.Fatal(diff)
	}
	if err := s.Verify(); err != nil {
		t.Fatal(err)
	}
}

func TestAppendAndRead(t *testing.T) {
	s, f := create(t, quickDir(t), nil), newFeed()
	want := new([segment.Lanes][]segment.Record)
	for _, n := range []int{1, 10, 100, 100, 100, 1000, 1, 1, 3000, 10, 100} {
		recs := f.batch(n)
		add(t, s, recs)
		for lane := range want {
			want[lane] = append(want[lane], recs[lane]...)
		}
		checkAgainst(t, s, want)
		f.at = f.at.Add(-1 << 32) // the clock jumps
	}
	path := s.Path()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := segment.VerifyFile(path); err != nil {
		t.Error(err)
	}
	s, err := segment.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	checkAgainst(t, s, want)
}

func TestExists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if _, err := segment.Open(path, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of nothing: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := segment.Create(path, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create of something: %v", err)
	}
}

// TestSmallCommits counts pages: what only adds to the open blocks changes the root page, the free list and a meta page, at any size
// of the summary and while the finished blocks are few.
func TestSmallCommits(t *testing.T) {
	many := new([segment.Lanes][]segment.Record)
	for i := range uint64(2000) {
		many[1] = append(many[1], segment.Record{Pos: i + 1, Body: bytes.Repeat([]byte("same "), 20)})
	}
	tests := []struct {
		name  string
		first *[segment.Lanes][]segment.Record
		runs  uint64
	}{
		{"new", new([segment.Lanes][]segment.Record), 1},
		{"few finished blocks", many, 1},
		{"many runs", many, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, f := create(t, quickDir(t), nil), newFeed()
			add(t, s, tt.first)
			for run := range tt.runs {
				f.run = run + 1
				add(t, s, f.batch(1))
			}
			const commits = 1000
			more := 0
			for range commits {
				written, err := s.Append(f.batch(1), epoch)
				if err != nil {
					t.Fatal(err)
				}
				if written > 2*4096 {
					more++
				}
			}
			if more > commits/50 {
				t.Errorf("%d of %d commits wrote more than two pages", more, commits)
			}
		})
	}
}
