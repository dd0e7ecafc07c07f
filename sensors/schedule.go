package sensors

import (
	"math/rand/v2"
	"time"

	"iotagent/internal/clock"
)

// schedule says when the readings of one sensor are due: the first at once (without align: after the offset), the others on a grid of the interval.
// Time runs by the monotonic clock. With align the grid is that of the wall clock as it is when a tick is planned, once that is plausible; so a step of the wall
// clock moves the grid and nothing else: whatever it does, two ticks are at least half an interval and less than one and a half apart, unless readings took too long.
type schedule struct {
	interval, offset, jitter time.Duration
	align                    bool
	clock                    *clock.Clock

	start time.Time     // of the grid that goes by the monotonic clock
	last  time.Time     // the tick before due; zero before the first
	due   time.Time     // the next tick
	delay time.Duration // the jitter of that tick
}

// replan is how often an aligned tick is planned anew while it is waited for: the wall clock may be set meanwhile.
const replan = 10 * time.Second

// begin plans the first tick.
func (s *schedule) begin(now time.Time) {
	s.start, s.due = now, now
	if !s.align {
		s.start = now.Add(s.offset)
		s.due = s.start
	}
	s.draw()
}

// next plans the tick after the present one: the first of the grid that is at least half an interval away from it and no more than that in the past.
func (s *schedule) next(now time.Time) {
	s.last = s.due
	earliest := s.last.Add(s.interval / 2)
	if late := now.Add(-s.interval / 2); late.After(s.last.Add(s.interval)) {
		earliest = late
	}
	s.due = s.tick(earliest, now)
	s.draw()
}

// revise plans the next tick anew, if the wall clock says something else by now and the wait does not get too long by that.
func (s *schedule) revise(now time.Time) {
	if !s.align || s.last.IsZero() || !now.Before(s.due) {
		return
	}
	earliest := s.last.Add(s.interval / 2)
	if now.After(earliest) {
		earliest = now
	}
	if due := s.tick(earliest, now); due.Sub(s.last) < s.interval+s.interval/2 {
		s.due = due
	}
}

// wake returns how long to wait until the tick is due, or until it is to be revised.
func (s *schedule) wake(now time.Time) time.Duration {
	wait := s.due.Add(s.delay).Sub(now)
	if s.align {
		return min(wait, replan)
	}
	return wait
}

// reached reports whether the tick is due.
func (s *schedule) reached(now time.Time) bool { return !now.Before(s.due.Add(s.delay)) }

// window returns the number of the window of that length in which the next tick lies. Windows begin at multiples of their length, on the same clock as the ticks.
func (s *schedule) window(length time.Duration, now time.Time) int64 {
	since := int64(s.due.Sub(s.start))
	if wall, ok := s.wall(s.due, now); ok {
		since = wall - int64(s.offset)
	}
	since += int64(s.interval / 2) // a tick belongs to its place on the grid, however exactly it meets it
	return floorDiv(since, int64(length))
}

// tick returns the first tick of the grid that is not before earliest.
func (s *schedule) tick(earliest, now time.Time) time.Time {
	since := int64(earliest.Sub(s.start))
	if wall, ok := s.wall(earliest, now); ok {
		since = wall - int64(s.offset)
	}
	step := int64(s.interval)
	return earliest.Add(time.Duration(-floorDiv(-since, step)*step - since))
}

// wall returns what the wall clock will show at t, in nanoseconds since 1970, if the grid goes by it and it is to be believed.
func (s *schedule) wall(t, now time.Time) (int64, bool) {
	if !s.align {
		return 0, false
	}
	stamp := s.clock.Stamp()
	at, known := stamp.True()
	if !known { // it may be right all the same
		at, known = stamp.Wall, stamp.Plausible()
	}
	return at.UnixNano() + int64(t.Sub(now)), known
}

func (s *schedule) draw() {
	if s.jitter > 0 {
		s.delay = rand.N(s.jitter + 1) //nolint:gosec // jitter needs no secrecy
	}
}

// floorDiv divides and rounds down, below zero too.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
