package sensors

import (
	"math"
	"time"
)

// defaultHeartbeat is that of a sensor with a deadband.
const defaultHeartbeat = 10 * time.Minute

// deadband leaves out readings that tell nothing new: the same quality, and no value that differs by more than its band from the one reported last.
// Failed readings are the same when they fail for the same kind of reason, whatever the words; a window with failed ones in it is another than one without.
type deadband struct {
	bands     []Band
	heartbeat time.Duration // 0: nothing is left out
	period    time.Duration // from one reading to the next

	reported bool
	quality  Quality
	kind     condition
	failed   bool // some readings of the window did
	at       time.Time
	values   []Sample
}

func newDeadband(c *Sampling, period time.Duration) *deadband {
	d := &deadband{bands: c.Deadband, heartbeat: c.Heartbeat.Duration, period: period}
	if d.heartbeat <= 0 && len(d.bands) > 0 {
		d.heartbeat = max(defaultHeartbeat, period)
	}
	return d
}

// passes reports whether the reading of a tick is to be reported, and remembers it then.
func (d *deadband) passes(r *Reading, kind condition, tick time.Time) bool {
	if d.heartbeat <= 0 {
		return true
	}
	failed := r.Window != nil && r.Window.Failed > 0
	if d.reported && !d.beats(tick) && r.Quality == d.quality && kind == d.kind && failed == d.failed && !d.differs(r) {
		return false
	}
	d.reported, d.quality, d.kind, d.failed, d.at = true, r.Quality, kind, failed, tick
	d.values = append(d.values[:0], r.Samples...)
	if r.Window != nil {
		for _, c := range r.Window.More {
			d.values = append(d.values, c.Samples...)
		}
	}
	return true
}

// beats reports whether the next tick would be too late for the heartbeat; ticks that follow a clock which is being set are not exactly a period apart.
func (d *deadband) beats(tick time.Time) bool {
	return tick.Add(d.period).Sub(d.at) > d.heartbeat+d.period/10
}

// differs compares a reading, with all that its window says, with what was reported last.
func (d *deadband) differs(r *Reading) bool {
	rest, other := d.compare(d.values, r.Samples)
	if other || r.Window == nil {
		return other || len(rest) > 0
	}
	for _, c := range r.Window.More {
		if rest, other = d.compare(rest, c.Samples); other {
			return true
		}
	}
	return len(rest) > 0
}

// compare returns the values behind those that samples were compared with.
func (d *deadband) compare(values, samples []Sample) (rest []Sample, differ bool) {
	if len(values) < len(samples) {
		return nil, true
	}
	for i, s := range samples {
		if values[i].Name != s.Name || !d.within(s.Name, values[i].Value, s.Value) {
			return nil, true
		}
	}
	return values[len(samples):], false
}

// within reports whether a value is in the band around the one that was reported. Without a band any change is one.
func (d *deadband) within(name string, reported, value float64) bool {
	band := 0.0
	for i := range d.bands {
		b := &d.bands[i]
		if b.Sample == name || b.Sample == "" {
			band = b.Absolute + b.Percent/100*math.Abs(reported)
		}
		if b.Sample == name {
			break
		}
	}
	return math.Abs(value-reported) <= band
}
