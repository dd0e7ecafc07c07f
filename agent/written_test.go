package agent_test

import (
	"testing"
	"time"

	"iotagent/agent"
	"iotagent/internal/clock"
	"iotagent/outbox"
)

// The process starts one hour after boot, at 20:00 of a clock two hours east of UTC, and writes 1 KiB in one commit every five minutes.
func TestWrittenToday(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	start := time.Date(2026, 11, 22, 20, 0, 0, 0, zone)
	const boot = time.Hour
	at := func(ran time.Duration) *outbox.Stats {
		n := uint64(ran / (5 * time.Minute))
		return &outbox.Stats{WrittenBytes: n << 10, Commits: n}
	}
	rows := map[string]struct {
		ran     time.Duration
		jump    time.Duration // of the wall clock, at the end
		commits uint64
		start   bool
	}{
		"before midnight":                     {3 * time.Hour, 0, 36, true},
		"at midnight":                         {4 * time.Hour, 0, 0, false},
		"after midnight":                      {5 * time.Hour, 0, 12, false},
		"on the third day":                    {36 * time.Hour, 0, 8 * 12, false},
		"a year on":                           {5 * time.Hour, 365 * 24 * time.Hour, 12, false},
		"a year back, the clock cannot be":    {5 * time.Hour, -365 * 24 * time.Hour, 60, true},
		"a day back":                          {5 * time.Hour, -24 * time.Hour, 12, false},
		"some hours back, over midnight":      {5 * time.Hour, -2 * time.Hour, 60, true},
		"some hours on, over midnight":        {3 * time.Hour, 2 * time.Hour, 12, false},
		"to just before midnight, after days": {50 * time.Hour, 90 * time.Minute, 282, false},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			w := agent.NewWritten(boot)
			for ran := time.Duration(0); ran <= row.ran; ran += 5 * time.Minute {
				w.Note(boot+ran, at(ran))
			}
			wall := start.Add(row.ran + row.jump)
			now := &clock.Stamp{Mono: boot + row.ran, Wall: wall.UTC(), Trusted: clock.Plausible(wall)}
			bytes, commits, since := w.Today(now, wall, at(row.ran))
			if bytes != commits<<10 || commits != row.commits || since != row.start {
				t.Errorf("%d bytes in %d commits, since the start: %v; want %d, %v", bytes, commits, since, row.commits, row.start)
			}
		})
	}
}

// What is remembered does not grow with the days.
func TestWrittenForgets(t *testing.T) {
	w := agent.NewWritten(0)
	for i := range 100000 {
		w.Note(time.Duration(i)*5*time.Minute, &outbox.Stats{Commits: uint64(i)})
	}
	if n := w.Marks(); n > 303 {
		t.Errorf("%d marks", n)
	}
}
