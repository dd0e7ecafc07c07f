package segment

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The files of testdata are format version 1 as it was released. They are not to be made anew: what changes the format makes
// version 2, and goes on reading these.
const makeGolden = false

func golden(t *testing.T, name string, b []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if makeGolden {
		if err := os.WriteFile(path, []byte(hex.Dump(b)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for line := range strings.Lines(string(text)) {
		for _, word := range strings.Fields(line[min(10, len(line)):min(58, len(line))]) {
			x, err := hex.DecodeString(word)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, x...)
		}
	}
	return out
}

// incompressible makes the encoder leave the block as it is, so that its bytes do not depend on the compressor's version.
func incompressible() []Record {
	recs := samples()
	recs[0].Body = make([]byte, 300)
	x := uint32(1)
	for i := range recs[0].Body {
		x = x*1664525 + 1013904223
		recs[0].Body[i] = byte(x >> 24)
	}
	return recs
}

func TestGoldenBlocks(t *testing.T) {
	c := NewCodec()
	first, enc := encode(c, 1, incompressible())
	if enc[5] != codecRaw {
		t.Fatal("the block was compressed")
	}
	if want := golden(t, "block-raw.v1.hex", enc); !bytes.Equal(enc, want) {
		t.Errorf("format changed: %x, want %x", enc, want)
	}
	var many []Record
	for i := range 40 {
		r := samples()[0]
		r.Pos += uint64(i)
		many = append(many, r)
	}
	for _, tt := range []struct {
		name string
		recs []Record
	}{{"block-raw.v1.hex", incompressible()}, {"block-zstd.v1.hex", many}} {
		_, now := encode(c, 1, tt.recs)
		if got, err := c.decode(1, first, golden(t, tt.name, now)); err != nil || !reflect.DeepEqual(got, tt.recs) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}

func TestGoldenSummary(t *testing.T) {
	enc := sampleSummary().append(nil)
	want := golden(t, "summary.v1.hex", enc)
	if !bytes.Equal(enc, want) {
		t.Errorf("format changed: %x, want %x", enc, want)
	}
	if s, err := decodeSummary(want); err != nil || !reflect.DeepEqual(s, sampleSummary()) {
		t.Errorf("%+v, %v", s, err)
	}
}

// goldenCommits are what v1.seg.gz holds: enough for finished and open blocks in all lanes.
func goldenCommits() (commits [20][Lanes][]Record) {
	for c := range commits {
		for i := range 30 {
			n := c*30 + i
			commits[c][n%Lanes] = append(commits[c][n%Lanes], Record{
				Pos: 3<<40 | uint64(n), Put: 1_772_323_200_000 + int64(n), Flags: byte(n % 4), Readings: uint32(n % 5), Span: uint64(n % 7 / 6),
				Body: fmt.Appendf(nil, "message %d, which is %x", n, uint32(n)*2654435761),
			})
		}
	}
	return commits
}

func TestGoldenFile(t *testing.T) {
	const name = "testdata/v1.seg.gz"
	if makeGolden {
		writeGoldenFile(t, name)
	}
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "v1.seg")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := VerifyFile(path); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for lane := range uint8(Lanes) {
		var want, got []Record
		for _, c := range goldenCommits() {
			want = append(want, c[lane]...)
		}
		for pos := uint64(0); ; pos = got[len(got)-1].Pos + 1 {
			recs, err := s.Read(lane, pos)
			if err != nil {
				t.Fatal(err)
			}
			if recs == nil {
				break
			}
			got = append(got, recs...)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("lane %d: %d records, want %d", lane, len(got), len(want))
		}
	}
}

func writeGoldenFile(t *testing.T, name string) {
	t.Helper()
	s, err := Create(filepath.Join(t.TempDir(), "v1.seg"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range goldenCommits() {
		if _, err := s.Append(&c, func(uint64) uint64 { return 0xE90C }); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Trim(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
