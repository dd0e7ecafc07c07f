package sensors

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iotagent/internal/clock"
)

// machine has a monotonic clock that the test moves and a wall clock that it sets.
type machine struct {
	start, now time.Time
	ahead      time.Duration
}

// newMachine returns one whose wall clock says wall.
func newMachine(wall time.Time) (*machine, *clock.Clock) {
	start := time.Now()
	m := &machine{start: start, now: start, ahead: wall.Sub(start)}
	return m, clock.NewWith("boot", func() time.Time { return m.now.Add(m.ahead) }, func() time.Duration { return m.now.Sub(start) })
}

// day begins on a full hour.
func day() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }

// ticks runs a schedule for n ticks, as Run does, and returns the time of each by both clocks; before is called before each wait.
func (m *machine) ticks(s *schedule, n int, before func(i int)) (at []time.Duration, wall []string) {
	s.begin(m.now)
	for i := range n {
		before(i)
		for !s.reached(m.now) {
			m.now = m.now.Add(s.wake(m.now))
			s.revise(m.now)
		}
		at = append(at, m.now.Sub(m.start))
		wall = append(wall, s.clock.Now().UTC().Format("15:04:05"))
		s.next(m.now)
	}
	return at, wall
}

func TestScheduleWithoutAlignGoesByTheMonotonicClock(t *testing.T) {
	m, c := newMachine(day().Add(3 * time.Second))
	s := schedule{interval: 10 * time.Second, offset: 2 * time.Second, clock: c}
	got, _ := m.ticks(&s, 4, func(int) { m.ahead += time.Hour })
	if diff := cmp.Diff([]time.Duration{2e9, 12e9, 22e9, 32e9}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAlignedTicks(t *testing.T) {
	const sec = time.Second
	for name, row := range map[string]struct {
		interval, offset time.Duration
		wall             time.Time
		steps            map[int]time.Duration // before that tick
		want             []string
	}{
		"on the minute's tenths":    {10 * sec, 0, day().Add(3 * sec), nil, []string{"10:00:03", "10:00:10", "10:00:20", "10:00:30"}},
		"too near is left out":      {10 * sec, 0, day().Add(7 * sec), nil, []string{"10:00:07", "10:00:20", "10:00:30"}},
		"with an offset":            {60 * sec, 5 * sec, day(), nil, []string{"10:00:00", "10:01:05", "10:02:05"}},
		"a step forward":            {10 * sec, 0, day().Add(3 * sec), map[int]time.Duration{2: time.Hour + 4*sec}, []string{"10:00:03", "10:00:10", "11:00:24", "11:00:30"}},
		"a step back":               {10 * sec, 0, day().Add(3 * sec), map[int]time.Duration{2: -time.Hour - 4*sec}, []string{"10:00:03", "10:00:10", "09:00:16", "09:00:30"}},
		"a step in a long wait":     {time.Hour, 0, day(), map[int]time.Duration{2: 20 * time.Minute}, []string{"10:00:00", "11:00:00", "12:00:00", "13:00:00"}},
		"never set":                 {10 * sec, 0, time.Unix(0, 0), nil, []string{"00:00:00", "00:00:10", "00:00:20"}},
		"set after the second tick": {10 * sec, 0, time.Unix(0, 0), map[int]time.Duration{2: day().Add(3 * sec).Sub(time.Unix(10, 0))}, []string{"00:00:00", "00:00:10", "10:00:13", "10:00:20"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, c := newMachine(row.wall)
			s := schedule{interval: row.interval, offset: row.offset, align: true, clock: c}
			at, got := m.ticks(&s, len(row.want), func(i int) { m.ahead += row.steps[i] })
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("after %v (-want +got):\n%s", at, diff)
			}
		})
	}
}

// Whatever the wall clock does, there is no burst, no gap and no disorder; and while it goes evenly, every tick but the first is on the grid.
func TestTicksKeepTheirDistanceWhateverTheClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, c := newMachine(day())
		s := schedule{
			interval: time.Duration(rapid.Int64Range(int64(100*time.Millisecond), int64(2*time.Hour)).Draw(t, "interval")), align: rapid.Bool().Draw(t, "align"), clock: c,
		}
		s.offset = time.Duration(rapid.Int64Range(0, int64(s.interval)-1).Draw(t, "offset"))
		stepped := false
		at, _ := m.ticks(&s, 8, func(int) {
			if rapid.IntRange(0, 2).Draw(t, "set") == 0 {
				m.ahead += time.Duration(rapid.Int64Range(int64(-48*time.Hour), int64(48*time.Hour)).Draw(t, "step"))
				stepped = true
			}
		})
		for i := 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap < s.interval/2 || gap >= s.interval+s.interval/2 {
				t.Fatalf("tick %d is %v after the one before, the interval is %v", i, gap, s.interval)
			}
		}
		if s.align && !stepped {
			wall, _ := s.wall(s.due, m.now)
			if off := floorDiv(wall-int64(s.offset), int64(s.interval))*int64(s.interval) + int64(s.offset) - wall; off != 0 {
				t.Fatalf("the tick is %v off the grid", time.Duration(off))
			}
		}
	})
}

// A clock that is set late in a long wait does not make it longer than one and a half intervals.
func TestARevisedTickIsNotTooFar(t *testing.T) {
	m, c := newMachine(day())
	s := schedule{interval: time.Hour, align: true, clock: c}
	s.begin(m.now)
	s.next(m.now)
	m.now, m.ahead = m.now.Add(50*time.Minute), m.ahead+20*time.Minute // the next full hour is in 50 min
	s.revise(m.now)
	if due := s.due.Sub(m.start); due != time.Hour {
		t.Errorf("due after %v", due)
	}
}

func TestJitterIsWithinBoundsAndMovesNoGrid(t *testing.T) {
	m, c := newMachine(day())
	s := schedule{interval: time.Second, jitter: 900 * time.Millisecond, clock: c}
	at, _ := m.ticks(&s, 500, func(int) {})
	low, high := time.Hour, time.Duration(0)
	for i, d := range at {
		delay := d - time.Duration(i)*time.Second
		low, high = min(low, delay), max(high, delay)
	}
	if low < 0 || high > s.jitter || low > 90*time.Millisecond || high < 810*time.Millisecond {
		t.Errorf("delays from %v to %v, want 0s to %v and nearly all of it used", low, high, s.jitter)
	}
}

func TestWindowsBeginAtMultiplesOfTheirLength(t *testing.T) {
	for align, want := range map[bool][]int{
		true:  {3, 6, 6}, // 33, 40 and 50 s; then from the full minute
		false: {6, 6, 6},
	} {
		m, c := newMachine(day().Add(33 * time.Second))
		s := schedule{interval: 10 * time.Second, align: align, clock: c}
		readings := map[int64]int{}
		var keys []int64
		s.begin(m.now)
		for range 18 {
			key := s.window(time.Minute, m.now)
			if readings[key]++; readings[key] == 1 {
				keys = append(keys, key)
			}
			m.now = s.due
			s.next(m.now)
		}
		var got []int
		for _, key := range keys[:3] {
			got = append(got, readings[key])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("align %v: readings in a window (-want +got):\n%s", align, diff)
		}
	}
}
