package sensors

import (
	"fmt"
	"strings"
)

// limiter judges readings by limits and remembers which alarms are on. An alarm is raised by every value beyond its limit, plausible or not: a false alarm
// is better than a missing one, and its reading says that it is out of range.
type limiter struct {
	limits []Limit
	above  []latch // of limits[i].AlarmAbove
	below  []latch
}

// latch is one alarm: on or off, and how many readings in a row were beyond.
type latch struct {
	on   bool
	runs int
}

func newLimiter(limits []Limit) *limiter {
	return &limiter{limits: limits, above: make([]latch, len(limits)), below: make([]latch, len(limits))}
}

// outOfRange returns what is implausible, "" when nothing is.
func (l *limiter) outOfRange(samples []Sample) string {
	var why []string
	for i := range l.limits {
		c := &l.limits[i]
		v := find(samples, c.Sample)
		switch {
		case v == nil:
		case c.Min != nil && v.Value < *c.Min:
			why = append(why, compared(v, "below min", *c.Min))
		case c.Max != nil && v.Value > *c.Max:
			why = append(why, compared(v, "above max", *c.Max))
		}
	}
	return strings.Join(why, "; ")
}

// alarms returns which alarms the samples end and which they raise; "" where none. For each limit the two alternate.
func (l *limiter) alarms(samples []Sample) (over, raised string) {
	var ended, begun []string
	for i := range l.limits {
		c := &l.limits[i]
		v := find(samples, c.Sample)
		if v == nil {
			continue
		}
		if c.AlarmAbove != nil {
			at := *c.AlarmAbove
			switch l.above[i].next(v.Value > at, v.Value <= at-c.Hysteresis, c.AlarmAfter) {
			case began:
				begun = append(begun, compared(v, "above", at))
			case stopped:
				ended = append(ended, compared(v, "no longer above", at))
			}
		}
		if c.AlarmBelow != nil {
			at := *c.AlarmBelow
			switch l.below[i].next(v.Value < at, v.Value >= at+c.Hysteresis, c.AlarmAfter) {
			case began:
				begun = append(begun, compared(v, "below", at))
			case stopped:
				ended = append(ended, compared(v, "no longer below", at))
			}
		}
	}
	return strings.Join(ended, "; "), strings.Join(begun, "; ")
}

type change uint8

const (
	same change = iota
	began
	stopped
)

// next takes in whether a value is beyond the limit, or well within it.
func (a *latch) next(beyond, within bool, after int) change {
	switch {
	case !beyond:
		a.runs = 0
	case a.runs < after:
		a.runs++
	}
	switch {
	case !a.on && beyond && a.runs >= after:
		a.on = true
		return began
	case a.on && within:
		a.on = false
		return stopped
	}
	return same
}

func compared(v *Sample, how string, limit float64) string {
	return fmt.Sprintf("%s %.6g %s %g", v.Name, v.Value, how, limit)
}
