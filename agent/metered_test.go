package agent_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/agent"
	"iotagent/internal/clock"
)

// meterBed is a count of metered messages in virtual time; the process may end and start again.
type meterBed struct {
	agent.Metered
	t     *testing.T
	path  string
	clock *clock.Clock
	log   bytes.Buffer
	// skew in nanoseconds is added to the wall clock.
	skew atomic.Int64
}

// newMeterBed begins at 20:00 UTC on 22 November 2026.
func newMeterBed(t *testing.T) *meterBed {
	start := time.Now()
	b := &meterBed{t: t, path: filepath.Join(t.TempDir(), "metered.json")}
	at := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	b.clock = clock.NewWith("boot", func() time.Time {
		return at.Add(time.Since(start) + time.Duration(b.skew.Load()))
	}, func() time.Duration { return time.Since(start) })
	b.start()
	return b
}

func (b *meterBed) start() {
	b.Metered = agent.NewMetered(b.clock, b.path, slog.New(slog.NewTextHandler(&b.log, nil)))
	b.Save(false)
}

func (b *meterBed) restart(cleanly bool) {
	if cleanly {
		b.Save(true)
	}
	b.start()
}

func TestMeteringCountsUnits(t *testing.T) {
	for size, units := range map[int]uint64{1: 1, 200: 1, 4095: 1, 4096: 1, 4097: 2, 8192: 2, 8193: 3, 262144: 64} {
		m := agent.NewMetered(clock.New(nil), "", slog.New(slog.DiscardHandler))
		m.Add(size)
		today, total := m.Now()
		if today.Metered != units || today.Messages != 1 || today.Bytes != uint64(size) || total.Metered != units {
			t.Errorf("%d bytes: today %+v, in all %+v; want %d", size, today, total, units)
		}
		if want := float64(size) / float64(units*4096); today.Fill() != want {
			t.Errorf("%d bytes: fill %v, want %v", size, today.Fill(), want)
		}
	}
	if none := (agent.Metering{}); none.Fill() != 0 {
		t.Errorf("fill of nothing is %v", none.Fill())
	}
}

func TestMeteringToday(t *testing.T) {
	const d22, d23 = "2026-11-22", "2026-11-23"
	count := func(day string, n uint64, sinceStart, atLeast bool) agent.Metering {
		return agent.Metering{Day: day, Messages: n, Metered: n, Bytes: 100 * n, SinceStart: sinceStart, AtLeast: atLeast}
	}
	rows := map[string]struct {
		do   func(b *meterBed)
		want agent.Metering
	}{
		"without a file: since the start": {func(b *meterBed) { b.Add(100) }, count(d22, 1, true, false)},
		"a batch counts one by one":       {func(b *meterBed) { b.Add(100, 100, 100) }, count(d22, 3, true, false)},
		"at midnight it begins anew": {func(b *meterBed) {
			b.Add(100)
			time.Sleep(4 * time.Hour)
			b.Add(100, 100)
		}, count(d23, 2, false, false)},
		"on the next day, with nothing sent": {func(b *meterBed) {
			b.Add(100)
			time.Sleep(20 * time.Hour)
		}, count(d23, 0, false, false)},
		"a clean stop loses nothing": {func(b *meterBed) {
			b.Add(100)
			time.Sleep(5 * time.Hour)
			b.Add(100)
			b.restart(true)
			b.Add(100)
		}, count(d23, 2, false, false)},
		"since the start remains, over a clean stop": {func(b *meterBed) {
			b.Add(100)
			b.restart(true)
			b.Add(100)
		}, count(d22, 2, true, false)},
		"an unclean stop makes it at least": {func(b *meterBed) {
			b.Add(100)
			b.Save(false)
			b.Add(100)
			b.restart(false)
			b.Add(100)
		}, count(d22, 2, true, true)},
		"at least remains": {func(b *meterBed) {
			b.restart(false)
			b.restart(true)
			b.Add(100)
		}, count(d22, 1, true, true)},
		"stopped cleanly yesterday: today is whole": {func(b *meterBed) {
			b.Add(100)
			b.Save(true)
			time.Sleep(10 * time.Hour)
			b.start()
			b.Add(100)
		}, count(d23, 1, false, false)},
		"killed yesterday, or later": {func(b *meterBed) {
			b.Add(100)
			time.Sleep(10 * time.Hour)
			b.restart(false)
			b.Add(100)
		}, count(d23, 1, false, true)},
		"a damaged file": {func(b *meterBed) {
			if err := os.WriteFile(b.path, []byte(`{"day":"2026-11-22","messa`), 0o600); err != nil {
				b.t.Fatal(err)
			}
			b.start()
			b.Add(100)
			if !strings.Contains(b.log.String(), "starts anew") {
				b.t.Errorf("the log says %q", b.log.String())
			}
		}, count(d22, 1, true, true)},
		"the clock is wrong at the start, then right": {func(b *meterBed) {
			b.Add(100)
			b.Save(true)
			b.skew.Store(int64(-50 * 365 * 24 * time.Hour))
			b.start()
			b.Add(100)
			if today, _ := b.Now(); today.Day != "" {
				b.t.Errorf("day %q of a clock that is wrong", today.Day)
			}
			b.skew.Store(0)
			b.Add(100)
		}, count(d22, 3, true, false)},
		"the clock goes wrong": {func(b *meterBed) {
			b.Add(100)
			b.skew.Store(int64(-50 * 365 * 24 * time.Hour))
			b.Add(100)
		}, count(d22, 2, true, false)},
		"the clock is set, over midnight": {func(b *meterBed) {
			b.Add(100)
			b.skew.Store(int64(5 * time.Hour))
			b.Add(100)
		}, count(d23, 1, false, true)},
		"the clock is set back, over midnight": {func(b *meterBed) {
			time.Sleep(5 * time.Hour)
			b.Add(100)
			b.skew.Store(int64(-5 * time.Hour))
			b.Add(100)
		}, count(d22, 1, false, true)},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newMeterBed(t)
				row.do(b)
				today, _ := b.Now()
				if diff := cmp.Diff(row.want, today); diff != "" {
					t.Errorf("today (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// While messages flow the file is written once an hour; while none do, not at all.
func TestMeteringSparesTheFlash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newMeterBed(t)
		go b.Watch(t.Context())
		writes, last := 0, ""
		look := func() {
			synctest.Wait()
			text, err := os.ReadFile(b.path)
			if err != nil {
				t.Fatal(err)
			}
			if string(text) != last {
				writes, last = writes+1, string(text)
			}
		}
		look()
		for range 3 * 60 {
			b.Add(100)
			time.Sleep(time.Minute)
			look()
		}
		if writes != 4 {
			t.Errorf("%d writes in three hours, want the first and three", writes)
		}
		time.Sleep(30 * time.Minute)
		look()
		if writes != 4 {
			t.Errorf("%d writes, want no more while nothing changes", writes)
		}
	})
}

// A folder that cannot be written costs a line in the log, and nothing else.
func TestMeteringWithoutADisk(t *testing.T) {
	var log bytes.Buffer
	m := agent.NewMetered(clock.New(nil), filepath.Join(t.TempDir(), "absent", "metered.json"), slog.New(slog.NewTextHandler(&log, nil)))
	m.Add(100)
	m.Save(true)
	if today, _ := m.Now(); today.Messages != 1 || !strings.Contains(log.String(), "not written") {
		t.Errorf("%+v, the log says %q", today, log.String())
	}
}

func FuzzMeterFile(f *testing.F) {
	f.Add([]byte(`{"day":"2026-11-22","messages":2,"metered":3,"bytes":4100,"since_start":true,"clean":true}`))
	f.Add([]byte(`{"day":"2026-11-22","messages":18446744073709551615}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := agent.ParseMeterFile(text)
		if err != nil {
			return
		}
		if fill := m.Fill(); m.Messages > m.Metered || fill < 0 || m.Day == "" {
			t.Errorf("%q was taken as %+v", text, m)
		}
	})
}
