package segment_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"iotagent/outbox/internal/boltfile"
	"iotagent/outbox/internal/segment"
)

// sound makes a segment of some thirty pages and returns its bytes, what is in it, and how much of that the last commit added.
func sound(t *testing.T, codec *segment.Codec) (file []byte, want, last *[segment.Lanes][]segment.Record) {
	t.Helper()
	s, f := create(t, quickDir(t), &segment.Options{Codec: codec}), newFeed()
	want = new([segment.Lanes][]segment.Record)
	for i := range 45 {
		f.run = uint64(1 + i/20)
		last = f.batch(100)
		add(t, s, last)
		for lane := range want {
			want[lane] = append(want[lane], last[lane]...)
		}
	}
	if err := s.Trim(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	return file, want, last
}

// touched finds the finished blocks that have a piece in a page: alone in a file of its size, the page gives away its own.
func touched(t *testing.T, file []byte, page int) (lanes [segment.Lanes][]uint64) {
	t.Helper()
	only := make([]byte, len(file))
	copy(only[page*4096:], file[page*4096:][:4096])
	if err := boltfile.Orphans(bytes.NewReader(only), int64(len(only)), func(k, _ []byte) error {
		if len(k) == 11 && k[0] < segment.Lanes {
			lanes[k[0]] = append(lanes[k[0]], binary.BigEndian.Uint64(k[1:]))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return lanes
}

// firsts has the first place of each block of a lane.
func firsts(t *testing.T, path string, codec *segment.Codec) (lanes [segment.Lanes][]uint64) {
	t.Helper()
	s, err := segment.OpenReadOnly(path, &segment.Options{Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for lane := range lanes {
		for pos := uint64(0); ; {
			recs, err := s.Read(uint8(lane), pos)
			if err != nil {
				t.Fatal(err)
			}
			if recs == nil {
				break
			}
			lanes[lane] = append(lanes[lane], recs[0].Pos)
			pos = recs[len(recs)-1].Pos + 1
		}
	}
	return lanes
}

// TestDamage spoils every page in turn. Nothing may crash or hang; what is salvaged is whole, in order, and lacks nothing but the blocks
// with a piece in that page, or of the root page what the last commit added.
func TestDamage(t *testing.T) {
	codec := segment.NewCodec()
	file, want, last := sound(t, codec)
	path := filepath.Join(quickDir(t), "f.seg")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	blocks := firsts(t, path, codec)
	ways := map[string]func(p []byte, r *rand.Rand){
		"zeroed": func(p []byte, _ *rand.Rand) { clear(p) },
		"torn":   func(p []byte, _ *rand.Rand) { clear(p[512:]) },
		"random": func(p []byte, r *rand.Rand) {
			for i := range p {
				p[i] = byte(r.Uint32())
			}
		},
		"header kept": func(p []byte, r *rand.Rand) {
			for i := 16; i < len(p); i++ {
				p[i] = byte(r.Uint32())
			}
		},
		"bit":         func(p []byte, r *rand.Rand) { p[r.IntN(len(p))] ^= 1 << r.IntN(8) },
		"element bit": func(p []byte, r *rand.Rand) { p[r.IntN(128)] ^= 1 << r.IntN(8) },
	}
	for way, spoil := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			r, path := rand.New(rand.NewPCG(1, 2)), filepath.Join(quickDir(t), "f.seg")
			for page := range len(file) / 4096 {
				b := bytes.Clone(file)
				spoil(b[page*4096:][:4096], r)
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				hit := touched(t, file, page)
				mayLack := func(lane int, pos uint64) bool {
					if pos >= last[lane][0].Pos {
						return true
					}
					i, ok := slices.BinarySearch(blocks[lane], pos)
					if !ok {
						i--
					}
					return slices.Contains(hit[lane], blocks[lane][i])
				}
				useDamaged(t, path, codec, want)
				salvaged(t, path, codec, want, mayLack)
				if t.Failed() {
					t.Fatalf("page %d of %d", page, len(file)/4096)
				}
			}
		})
	}
}

// useDamaged opens, reads, verifies and appends: it works, or it is a damage error. What comes out is what was put in.
func useDamaged(t *testing.T, path string, codec *segment.Codec, want *[segment.Lanes][]segment.Record) {
	t.Helper()
	verr := segment.VerifyFile(path)
	if verr != nil && !boltfile.IsDamage(verr) {
		t.Errorf("verify: %v", verr)
	}
	s, err := segment.Open(path, &segment.Options{Codec: codec})
	if err != nil {
		if !boltfile.IsDamage(err) || verr == nil {
			t.Errorf("open: %v; verify: %v", err, verr)
		}
		return
	}
	defer func() { _ = s.Close() }()
	for lane := range want {
		rest := want[lane]
		for len(rest) > 0 {
			recs, err := s.Read(uint8(lane), rest[0].Pos)
			if err != nil {
				if !boltfile.IsDamage(err) || verr == nil {
					t.Errorf("read: %v; verify: %v", err, verr)
				}
				break
			}
			if verr == nil && (len(recs) == 0 || !slices.EqualFunc(recs, rest[:len(recs)], equal)) {
				t.Errorf("lane %d: read %d records at %d", lane, len(recs), rest[0].Pos)
			}
			if len(recs) == 0 {
				break
			}
			rest = rest[min(len(rest), len(recs)):]
		}
	}
	if _, err := s.Append(&[segment.Lanes][]segment.Record{1: {{Pos: 9 << 40, Body: body(1, 9000, true)}}}, epoch); err != nil && !boltfile.IsDamage(err) {
		t.Errorf("append: %v", err)
	}
}

func salvaged(t *testing.T, path string, codec *segment.Codec, want *[segment.Lanes][]segment.Record, mayLack func(lane int, pos uint64) bool) (n int) {
	t.Helper()
	got := new([segment.Lanes][]segment.Record)
	if _, _, err := segment.Salvage(path, &segment.Options{Codec: codec}, func(lane uint8, r segment.Record) error {
		if r.Pos < 9<<40 { // useDamaged's own
			got[lane] = append(got[lane], r)
			n++
		}
		return nil
	}); err != nil {
		t.Errorf("salvage: %v", err)
	}
	for lane := range want {
		i, g := 0, got[lane]
		for _, w := range want[lane] {
			switch {
			case i < len(g) && equal(w, g[i]):
				i++
			case !mayLack(lane, w.Pos):
				t.Errorf("lane %d: %x is lost", lane, w.Pos)
				return n
			}
		}
		if i < len(g) {
			t.Errorf("lane %d: %x was never put, or came twice or changed", lane, g[i].Pos)
		}
	}
	return n
}

func TestTruncated(t *testing.T) {
	codec := segment.NewCodec()
	file, want, _ := sound(t, codec)
	path := filepath.Join(quickDir(t), "f.seg")
	most := 0
	for _, extra := range []int{0, 1000} {
		for n := extra; n < len(file); n += 4096 {
			if err := os.WriteFile(path, file[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			if err := segment.VerifyFile(path); err == nil {
				t.Errorf("cut at %d: verified", n)
			}
			most = max(most, salvaged(t, path, codec, want, func(int, uint64) bool { return true }))
		}
	}
	if total := len(want[0]) + len(want[1]) + len(want[2]); most < total/2 {
		t.Errorf("%d of %d records from a file with one page missing", most, total)
	}
}

// TestCutWhileOpen cuts the file under the map: reading faults, which must not end the process.
func TestCutWhileOpen(t *testing.T) {
	codec := segment.NewCodec()
	file, want, _ := sound(t, codec)
	for _, left := range []int64{0, 4096, 8192, int64(len(file)) / 2} {
		path := filepath.Join(t.TempDir(), "f.seg")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := segment.Open(path, &segment.Options{Codec: codec})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, left); err != nil {
			t.Fatal(err)
		}
		failed := false
		for _, r := range want[1] {
			if _, err := s.Read(1, r.Pos); err != nil {
				failed = true
				if !boltfile.IsDamage(err) {
					t.Error(err)
				}
			}
		}
		if _, err := s.Append(&[segment.Lanes][]segment.Record{1: {{Pos: 9 << 40, Body: body(1, 9000, true)}}}, epoch); err == nil || !failed {
			t.Errorf("cut to %d: append %v, a read failed: %v", left, err, failed)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestDiskRefuses lets a commit fail: that is no damage, what was there can still be read, and a reopened segment goes on.
func TestDiskRefuses(t *testing.T) {
	s, f := create(t, quickDir(t), nil), newFeed()
	want := f.batch(300)
	add(t, s, want)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refusing := &segment.Options{OpenFile: func(name string, _ int, perm os.FileMode) (*os.File, error) {
		return os.OpenFile(name, os.O_RDONLY, perm)
	}}
	s, err := segment.Open(s.Path(), refusing)
	if err != nil {
		t.Fatal(err)
	}
	more := f.batch(300)
	for range 2 {
		if _, err := s.Append(more, epoch); err == nil || boltfile.IsDamage(err) || errors.Is(err, segment.ErrFull) {
			t.Errorf("append: %v", err)
		}
	}
	checkAgainst(t, s, want)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = segment.Open(s.Path(), nil); err != nil {
		t.Fatal(err)
	}
	add(t, s, more)
	for lane := range want {
		want[lane] = append(want[lane], more[lane]...)
	}
	checkAgainst(t, s, want)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestNothingToSalvage gives it what is no segment.
func TestNothingToSalvage(t *testing.T) {
	keep := func(uint8, segment.Record) error {
		t.Error("something was salvaged")
		return nil
	}
	for _, b := range [][]byte{nil, []byte("short"), make([]byte, 40<<10), bytes.Repeat([]byte("no segment "), 5000)} {
		path := filepath.Join(t.TempDir(), "f.seg")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if sum, epochs, err := segment.Salvage(path, nil, keep); sum != nil || len(epochs) > 0 || err != nil {
			t.Errorf("%d bytes: %v, %v, %v", len(b), sum, epochs, err)
		}
		if len(b) > 0 && !boltfile.IsDamage(segment.VerifyFile(path)) {
			t.Errorf("%d bytes: verified", len(b))
		}
	}
	if _, _, err := segment.Salvage(filepath.Join(t.TempDir(), "absent"), nil, keep); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}
