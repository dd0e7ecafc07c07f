package agent

import (
	"context"
	"sync"
	"time"

	"iotagent/internal/clock"
	"iotagent/outbox"
)

// written remembers how much the outbox had written when, so that the status can say how much it was today. It goes by the time since boot:
// when the wall clock jumps, midnight moves, and not what was written.
type written struct {
	mu    sync.Mutex
	start time.Duration
	marks []mark // oldest first
}

// mark is what had been written at a time since boot.
type mark struct {
	at             time.Duration
	bytes, commits uint64
}

const (
	// markEvery is how exactly midnight is met.
	markEvery = 5 * time.Minute
	// longestDay is one on which the clocks are set back.
	longestDay = 25 * time.Hour
)

// note marks the present state, where it is another one than at the last mark.
func (w *written) note(now time.Duration, q *outbox.Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := mark{now, q.WrittenBytes, q.Commits}
	if n := len(w.marks); n > 0 && w.marks[n-1].commits == m.commits && w.marks[n-1].bytes == m.bytes {
		return
	}
	for len(w.marks) > 1 && now-w.marks[1].at > longestDay {
		w.marks = w.marks[1:]
	}
	w.marks = append(w.marks, m)
}

// today returns what was written since the last midnight of local, which is now on the wall; sinceStart says that it is what was written
// since the start, because that is less or because nobody knows what day it is.
func (w *written) today(now *clock.Stamp, local time.Time, q *outbox.Stats) (bytes, commits uint64, sinceStart bool) {
	year, month, day := local.Date()
	midnight := now.Mono - max(local.Sub(time.Date(year, month, day, 0, 0, 0, 0, local.Location())), 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !now.Plausible() || midnight <= w.start {
		return q.WrittenBytes, q.Commits, true
	}
	var before mark
	for _, m := range w.marks {
		if m.at > midnight {
			break
		}
		before = m
	}
	return q.WrittenBytes - min(before.bytes, q.WrittenBytes), q.Commits - min(before.commits, q.Commits), false
}

// watch marks now and then, until ctx is done.
func (w *written) watch(ctx context.Context, mono func() time.Duration, stats func() outbox.Stats) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		q := stats()
		w.note(mono(), &q)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
