package sensors

import (
	"slices"
	"time"

	"iotagent/internal/quantity"
)

// stillness notices a sensor that gives the same values again and again: one that is stuck, or whose source is not updated any more.
type stillness struct {
	after   time.Duration // 0: never
	last    []Sample
	changed time.Duration // time since boot of the reading that had them first
}

// stuck returns why the samples, taken at the time at since boot, are stale; "" when they are not.
func (s *stillness) stuck(samples []Sample, at time.Duration) string {
	if s.after <= 0 {
		return ""
	}
	if !slices.Equal(s.last, samples) {
		s.last, s.changed = append(s.last[:0], samples...), at
		return ""
	}
	if at-s.changed < s.after {
		return ""
	}
	return "no value has changed for " + quantity.Duration{Duration: (at - s.changed).Round(time.Second)}.String() + ", the sensor may be stuck"
}
