package segment_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"iotagent/outbox/internal/segment"
)

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkAppend(b, n) })
	}
}

// benchmarkAppend rolls at 4 MiB and counts that in. The messages repeat only after many blocks.
func benchmarkAppend(b *testing.B, n int) {
	dir, o, f := b.TempDir(), &segment.Options{Codec: segment.NewCodec()}, newFeed()
	batches := make([]*[segment.Lanes][]segment.Record, 10_000/n)
	for i := range batches {
		batches[i] = f.batch(n)
	}
	s, written, files, seq := create(b, dir, o), uint64(0), 0, uint64(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		recs := batches[i%len(batches)]
		for lane := range recs {
			for i := range recs[lane] {
				seq++
				recs[lane][i].Pos = seq
			}
		}
		w, err := s.Append(recs, epoch)
		if err != nil {
			b.Fatal(err)
		}
		written += w
		if s.Used() > 4<<20 {
			files++
			if s, err = segment.Create(filepath.Join(dir, fmt.Sprint(files)), o); err != nil {
				b.Fatal(err)
			}
		}
	}
	total := float64(b.N * n)
	b.ReportMetric(total/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(written)/total, "pageB/record")
}

func BenchmarkRead(b *testing.B) {
	s, f := create(b, b.TempDir(), &segment.Options{Codec: segment.NewCodec()}), newFeed()
	for s.Used() < 4<<20 {
		add(b, s, f.batch(1000))
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		for lane := range uint8(segment.Lanes) {
			for pos := uint64(1) << 40; ; {
				recs, err := s.Read(lane, pos)
				if err != nil {
					b.Fatal(err)
				}
				if len(recs) == 0 {
					break
				}
				n += len(recs)
				pos = recs[len(recs)-1].Pos + 1
			}
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(s.Used())*float64(b.N)/float64(n), "fileB/record")
}

// BenchmarkOpen opens a full segment whose pages are not in memory: opening drops them.
func BenchmarkOpen(b *testing.B) {
	o := &segment.Options{Codec: segment.NewCodec()}
	s, f := create(b, b.TempDir(), o), newFeed()
	for s.Used() < 4<<20 {
		add(b, s, f.batch(1000))
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := segment.Open(s.Path(), o)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
