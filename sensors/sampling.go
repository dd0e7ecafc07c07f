package sensors

import (
	"maps"
	"slices"

	"iotagent/internal/quantity"
)

// Sampling is the part of Common that says when readings are taken and what becomes of them before they are packed, in this order: they are calibrated,
// judged by limits (which may raise alarms beside them), put together over windows, and left out where nothing changed. The zero value changes nothing.
type Sampling struct {
	// Align puts the readings on multiples of the interval of the wall clock (UTC), once that is right.
	Align bool `toml:"align"`
	// Offset is by how much the readings come later than the multiples or, without Align, than the start. Less than the interval.
	Offset quantity.Duration `toml:"offset"`
	// Jitter is the most that each reading is put off, by chance. Less than the interval.
	Jitter quantity.Duration `toml:"jitter"`
	// Retries is how often a failed read is tried again at once, within Timeout.
	Retries int `toml:"retries"`
	// Calibration corrects measured values.
	Calibration []Calibration `toml:"calibration"`
	// Limits judge them.
	Limits []Limit `toml:"limits"`
	// StaleAfter is how long no value may change until the readings are called stale; 0 for ever.
	StaleAfter quantity.Duration `toml:"stale_after"`
	// Window puts the readings of so much time together into one; 0 leaves each by itself.
	Window quantity.Duration `toml:"window"`
	// Aggregate says what the one reading tells of each quantity: any of "mean", "min", "max", "last" and "count". The first stands under the quantity's own name.
	Aggregate []string `toml:"aggregate"`
	// Deadband leaves readings out that do not differ from what was reported last.
	Deadband []Band `toml:"deadband"`
	// Heartbeat is how long readings may be left out; 0 means 10 min with a Deadband and that none is left out without one.
	Heartbeat quantity.Duration `toml:"heartbeat"`
	// Tags are constant texts that each reading carries.
	Tags map[string]string `toml:"tags"`
}

// Calibration corrects one quantity: by a factor and an offset, or along points.
type Calibration struct {
	// Sample is the name of the quantity.
	Sample string `toml:"sample"`
	// Scale, by default 1, multiplies what was measured, then Offset is added.
	Scale  *float64 `toml:"scale"`
	Offset float64  `toml:"offset"`
	// Points are pairs of what the sensor says and what is right, the former rising. Between two of them, and beyond the first and the last, values follow the straight line.
	Points [][]float64 `toml:"points"`
}

// Limit judges one quantity.
type Limit struct {
	// Sample is the name of the quantity.
	Sample string `toml:"sample"`
	// Min and Max bound what is plausible.
	Min *float64 `toml:"min"`
	Max *float64 `toml:"max"`
	// AlarmAbove and AlarmBelow are the values beyond which there is an alarm.
	AlarmAbove *float64 `toml:"alarm_above"`
	AlarmBelow *float64 `toml:"alarm_below"`
	// Hysteresis is by how much a value must be back within for the alarm to be over.
	Hysteresis float64 `toml:"hysteresis"`
	// AlarmAfter is how many readings in a row must be beyond; 0 means 1.
	AlarmAfter int `toml:"alarm_after"`
}

// Band is how much one quantity may differ from what was reported last without being reported.
type Band struct {
	// Sample is the name of the quantity; "" stands for all that have no band of their own.
	Sample string `toml:"sample"`
	// Absolute is in the quantity's unit, Percent of the value reported last. One of them is set.
	Absolute float64 `toml:"absolute"`
	Percent  float64 `toml:"percent"`
}

// Complete gives a reading the tags and, where readings are put together, a window with all that it tells. It is for those who want to know how large readings get.
func (c *Sampling) Complete(r *Reading) {
	r.Tags = c.tags()
	if c.Window.Duration <= 0 {
		return
	}
	funcs := newAggregator(c.Aggregate).funcs
	r.Window = &Window{Span: c.Window.Duration, Count: 99, Func: funcs[0]}
	for _, f := range funcs[1:] {
		r.Window.More = append(r.Window.More, Column{f, r.Samples})
	}
}

// AggregateFuncs are the words of Sampling.Aggregate.
func AggregateFuncs() []string { return []string{"mean", "min", "max", "last", "count"} }

// defaultAggregate gives a reading the shape of a thinned one (docs/formats.md).
func defaultAggregate() []string { return []string{"mean", "min", "max"} }

// samples returns the names that the configuration has of the sensor's quantities.
func (c *Sampling) samples() []string {
	var names []string
	for i := range c.Calibration {
		names = append(names, c.Calibration[i].Sample)
	}
	for i := range c.Limits {
		names = append(names, c.Limits[i].Sample)
	}
	for _, b := range c.Deadband {
		if b.Sample != "" {
			names = append(names, b.Sample)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// tags returns the tags in the order of their keys.
func (c *Sampling) tags() []Tag {
	var tags []Tag
	for _, key := range slices.Sorted(maps.Keys(c.Tags)) {
		tags = append(tags, Tag{key, c.Tags[key]})
	}
	return tags
}

// find returns the sample of that name, or nil.
func find(samples []Sample, name string) *Sample {
	for i := range samples {
		if samples[i].Name == name {
			return &samples[i]
		}
	}
	return nil
}
