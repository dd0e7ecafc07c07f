package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

const (
	maxRetries    = 10
	maxPoints     = 100
	maxTags       = 10
	maxTagBytes   = 64
	maxAlarmAfter = 1000
	maxWindow     = 24 * time.Hour
)

// checkSampling checks what a [[sensor]] says of its schedule and of what becomes of its readings.
func checkSampling(b *block, c *sensors.Common) {
	b.below("offset", c.Offset, c.Interval)
	b.below("jitter", c.Jitter, c.Interval)
	if c.Retries < 0 || c.Retries > maxRetries {
		b.bad("retries", fmt.Sprintf("want 0 to %d, got %d", maxRetries, c.Retries))
	}
	b.within("stale_after", &c.StaleAfter, 0, 2*c.Interval.Duration, 0)
	calibrated := map[string]int{}
	for i := range c.Calibration {
		key := fmt.Sprintf("calibration[%d]", i)
		b.sample(key, c.Calibration[i].Sample, i, calibrated)
		checkCalibration(b, key, &c.Calibration[i])
	}
	limited := map[string]int{}
	for i := range c.Limits {
		key := fmt.Sprintf("limits[%d]", i)
		b.sample(key, c.Limits[i].Sample, i, limited)
		checkLimit(b, key, &c.Limits[i])
	}
	checkWindow(b, c)
	checkDeadband(b, c)
	checkTags(b, c.Tags)
}

// below checks a duration that has to be less than the interval.
func (b *block) below(key string, d, interval quantity.Duration) {
	if d.Problem() == "" && d.Duration > 0 && d.Duration >= interval.Duration && interval.Problem() == "" {
		b.bad(key, fmt.Sprintf("want less than the interval (%v), got %v", interval, d))
	}
}

// sample checks the name in the i-th entry of a list, of which each may stand once.
func (b *block) sample(key, name string, i int, seen map[string]int) {
	first, taken := seen[name]
	switch {
	case name == "":
		b.bad(key+".sample", `is missing; name what the sensor measures, such as sample = "temperature_celsius" (iotagent read shows it)`)
	case !sampleName().MatchString(name):
		b.bad(key+".sample", fmt.Sprintf(`want a measured quantity as iotagent read shows it, such as "temperature_celsius", got %q`, shorten(name)))
	case taken:
		b.bad(key+".sample", fmt.Sprintf("has an entry already, number %d of this list; put both into one", first+1))
	default:
		seen[name] = i
	}
}

// says reports whether an entry of a list, such as limits[1], has any of the keys, rightly spelled or not.
func (b *block) says(entry string, keys ...string) bool {
	name, index, _ := strings.Cut(entry, "[")
	e := b.t.get(name)
	if e == nil {
		return false
	}
	t := e.val.item(index).table
	return slices.ContainsFunc(keys, func(key string) bool {
		return t != nil && t.has(key) || b.guessed[b.path+"."+entry+"."+key]
	})
}

func sampleName() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`) }

func checkCalibration(b *block, key string, c *sensors.Calibration) {
	switch {
	case !b.says(key, "offset", "scale", "points"):
		b.bad(key, "corrects nothing; want offset, scale or points")
	case c.Points == nil:
		if c.Scale != nil && *c.Scale == 0 {
			b.bad(key+".scale", "makes every value the same; want a factor other than 0")
		}
		return
	case c.Scale != nil || c.Offset != 0:
		b.bad(key+".points", "stand for themselves; take scale and offset out, or the points")
	case len(c.Points) < 2 || len(c.Points) > maxPoints:
		b.bad(key+".points", fmt.Sprintf("want 2 to %d points, got %d; a single one is an offset", maxPoints, len(c.Points)))
	}
	for i, p := range c.Points {
		if len(p) != 2 {
			b.bad(fmt.Sprintf("%s.points[%d]", key, i), fmt.Sprintf("want what the sensor says and what is right, such as [100, 99.1], got a list of %d", len(p)))
			return
		}
		if i > 0 && p[0] <= c.Points[i-1][0] {
			b.bad(fmt.Sprintf("%s.points[%d]", key, i), fmt.Sprintf("want what the sensor says (the first number) to rise from point to point, got %g after %g", p[0], c.Points[i-1][0]))
			return
		}
	}
}

func checkLimit(b *block, key string, c *sensors.Limit) {
	ordered := func(low, high *float64, lowKey, highKey string) {
		if low != nil && high != nil && *low >= *high {
			b.bad(key+"."+highKey, fmt.Sprintf("want more than %s (%g), got %g", lowKey, *low, *high))
		}
	}
	alarms := b.says(key, "alarm_above", "alarm_below")
	if !alarms && !b.says(key, "min", "max") {
		b.bad(key, "limits nothing; want min, max, alarm_above or alarm_below")
	}
	ordered(c.Min, c.Max, "min", "max")
	ordered(c.AlarmBelow, c.AlarmAbove, "alarm_below", "alarm_above")
	switch {
	case c.Hysteresis < 0:
		b.bad(key+".hysteresis", fmt.Sprintf("want 0 or more, got %g", c.Hysteresis))
	case c.Hysteresis > 0 && !alarms:
		b.bad(key+".hysteresis", "does nothing without alarm_above or alarm_below")
	case c.AlarmAbove != nil && c.AlarmBelow != nil && *c.AlarmAbove > *c.AlarmBelow && c.Hysteresis > *c.AlarmAbove-*c.AlarmBelow:
		b.bad(key+".hysteresis", fmt.Sprintf("want no more than alarm_above and alarm_below are apart (%g), got %g", *c.AlarmAbove-*c.AlarmBelow, c.Hysteresis))
	}
	switch {
	case c.AlarmAfter < 0 || c.AlarmAfter > maxAlarmAfter:
		b.bad(key+".alarm_after", fmt.Sprintf("want 1 to %d readings, got %d", maxAlarmAfter, c.AlarmAfter))
	case c.AlarmAfter > 0 && !alarms:
		b.bad(key+".alarm_after", "does nothing without alarm_above or alarm_below")
	}
}

func checkWindow(b *block, c *sensors.Common) {
	b.within("window", &c.Window, 0, c.Interval.Duration, maxWindow)
	if c.Interval.Duration > 0 && c.Window.Duration%c.Interval.Duration != 0 && c.Window.Duration > c.Interval.Duration {
		b.bad("window", fmt.Sprintf("want a multiple of the interval (%v), got %v", c.Interval, c.Window))
	}
	if !b.t.has("aggregate") {
		return
	}
	if !b.t.has("window") {
		b.bad("aggregate", `does nothing without window; how much time shall one reading stand for, such as window = "1m"?`)
	}
	known, value := sensors.AggregateFuncs(), false
	for i, f := range c.Aggregate {
		key := fmt.Sprintf("aggregate[%d]", i)
		switch {
		case !slices.Contains(known, f):
			b.bad(key, choice(known, f))
		case slices.Index(c.Aggregate, f) < i:
			b.bad(key, fmt.Sprintf("%q stands here for the second time", f))
		}
		value = value || f != "count"
	}
	if !value {
		b.bad("aggregate", `want "mean", "min", "max" or "last" among them`)
	}
}

func checkDeadband(b *block, c *sensors.Common) {
	seen := map[string]int{}
	for i, band := range c.Deadband {
		key := fmt.Sprintf("deadband[%d]", i)
		first, taken := seen[""]
		switch {
		case band.Sample != "":
			b.sample(key, band.Sample, i, seen)
		case taken:
			b.bad(key, fmt.Sprintf("is for all other quantities, as number %d of this list is; put both into one", first+1))
		default:
			seen[""] = i
		}
		switch {
		case band.Absolute < 0:
			b.bad(key+".absolute", fmt.Sprintf("want more than 0, got %g", band.Absolute))
		case band.Percent < 0:
			b.bad(key+".percent", fmt.Sprintf("want more than 0, got %g", band.Percent))
		case band.Absolute > 0 && band.Percent > 0:
			b.bad(key, "has both absolute and percent; take one of them out")
		case band.Absolute == 0 && band.Percent == 0:
			b.bad(key, "has no width; want absolute, in the quantity's unit, or percent of the value reported last")
		}
	}
	b.within("heartbeat", &c.Heartbeat, 0, max(c.Interval.Duration, c.Window.Duration), 0)
}

func checkTags(b *block, tags map[string]string) {
	if len(tags) > maxTags {
		b.bad("tags", fmt.Sprintf("want at most %d, got %d: every reading carries them", maxTags, len(tags)))
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		text := tags[key]
		switch {
		case !tagKey().MatchString(key):
			b.bad("tags."+key, `want a name of 1 to 32 small letters, digits or "_" that begins with a letter`)
		case text == "" || len(text) > maxTagBytes || slices.ContainsFunc([]rune(text), unicode.IsControl):
			b.bad("tags."+key, fmt.Sprintf("want text of 1 to %d bytes on one line", maxTagBytes))
		}
	}
}

func tagKey() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`) }
