package sensors

import "time"

// stages are what a reading goes through between the driver and the packer; each is a file of its own. take calibrates and judges, pass does the rest.
type stages struct {
	limits *limiter
	still  stillness
	window time.Duration // 0: no windows
	made   *aggregator
	band   *deadband
	emit   func(Reading) // nil while Once
}

func newStages(c *Common, interval time.Duration) stages {
	period := max(interval, c.Window.Duration)
	return stages{
		limits: newLimiter(c.Limits), still: stillness{after: c.StaleAfter.Duration},
		window: c.Window.Duration, made: newAggregator(c.Aggregate), band: newDeadband(&c.Sampling, period),
	}
}

// pass raises and ends alarms by the reading of a tick, and reports it, by itself or in a window.
func (s *Sampler) pass(r *Reading, kind condition, tick time.Time, window int64) {
	if len(r.Samples) > 0 {
		over, raised := s.limits.alarms(r.Samples)
		s.alarm(*r, over, true)
		s.alarm(*r, raised, false)
	}
	if s.window <= 0 {
		s.report(r, kind, tick)
		return
	}
	if s.made.key != window { // the clock was set, or the machine slept
		s.closeWindow(tick)
	}
	s.made.add(r, kind, window)
}

// closeWindow reports what the open window holds, if anything.
func (s *Sampler) closeWindow(tick time.Time) {
	if s.window > 0 && !s.made.empty() {
		r, kind := s.made.close()
		s.report(&r, kind, tick)
	}
}

func (s *Sampler) report(r *Reading, kind condition, tick time.Time) {
	if !s.band.passes(r, kind, tick) {
		s.count(func(st *Status) { st.Withheld++ })
		return
	}
	s.emit(*r)
}

// alarm emits a reading as an alarm, beside the one that goes its way; without a reason there is none.
func (s *Sampler) alarm(r Reading, why string, over bool) {
	if why == "" {
		return
	}
	r.Alarm, r.Over, r.Reason = true, over, joined(why, r.Reason)
	s.count(func(st *Status) { st.Alarms++ })
	s.emit(r)
}
