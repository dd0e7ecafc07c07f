package segment_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"iotagent/outbox/internal/segment"
)

// quickDir is a folder in memory where there is one: what is tested there is not durability.
func quickDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "segment") //nolint:usetesting // in memory, which TempDir need not be
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

// feed makes messages as twelve slowly changing sensors give them, about 177 bytes each.
type feed struct {
	r    *rand.Rand
	temp [12]float64
	at   time.Time
	n    int
	seq  [segment.Lanes]uint64
	run  uint64
}

func newFeed() *feed {
	f := &feed{r: rand.New(rand.NewPCG(1, 2)), at: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), run: 1}
	for i := range f.temp {
		f.temp[i] = 15 + f.r.Float64()*10
	}
	return f
}

func (f *feed) body() []byte {
	i := f.n % 12
	f.n++
	f.at = f.at.Add(100 * time.Millisecond)
	f.temp[i] += f.r.NormFloat64() * 0.02
	b, err := json.Marshal(map[string]any{
		"sensor": fmt.Sprintf("hall-%d", i), "type": "bme280", "at": f.at.Format("2006-01-02T15:04:05.000Z"), "temperature_c": math.Round(f.temp[i]*100) / 100,
		"humidity_pct": math.Round((40+f.temp[i])*10) / 10, "pressure_hpa": math.Round(1013e2+f.temp[i]*10) / 100, "rssi_dbm": -60 - f.r.IntN(12),
	})
	if err != nil {
		panic(err)
	}
	return b
}

func (f *feed) record(lane int) segment.Record {
	f.seq[lane]++
	b := f.body()
	return segment.Record{Pos: f.run<<40 | f.seq[lane], Put: f.at.UnixMilli(), Readings: 1, Body: b}
}

// batch spreads n messages over the lanes: 1, 90 and 9 of a hundred.
func (f *feed) batch(n int) *[segment.Lanes][]segment.Record {
	recs := new([segment.Lanes][]segment.Record)
	for range n {
		lane := 1
		switch x := f.n % 100; {
		case x == 50:
			lane = 0
		case x%11 == 5:
			lane = 2
		}
		recs[lane] = append(recs[lane], f.record(lane))
	}
	return recs
}

func epoch(pos uint64) uint64 { return pos>>40 ^ 0xE0C4E0C4E0C4 }

func create(t testing.TB, dir string, o *segment.Options) *segment.Segment {
	t.Helper()
	s, err := segment.Create(filepath.Join(dir, "000000000001.seg"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func add(t testing.TB, s *segment.Segment, recs *[segment.Lanes][]segment.Record) {
	t.Helper()
	if _, err := s.Append(recs, epoch); err != nil {
		t.Fatal(err)
	}
}
