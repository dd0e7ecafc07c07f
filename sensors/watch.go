package sensors

import "time"

// watched is what a Sampler knows of a sensor that is a Watcher.
type watched struct {
	// events are those of the open sensor, lent to an attempt or not; nil when there are none.
	events <-chan Event
	// deaf says that they have ended: the sensor is to be opened anew.
	deaf bool
	// watches says that the sensor is a Watcher, or will be when it is open.
	watches bool
}

// listen takes up the events of a sensor that came back from an attempt.
func (s *Sampler) listen() {
	if s.sensor == nil {
		s.unlisten()
		return
	}
	if w, ok := s.sensor.(Watcher); ok && !s.deaf {
		s.watches, s.events = true, w.Events()
	}
}

// unlisten takes in the last events of a sensor that is halted, or about to be.
func (s *Sampler) unlisten() {
	s.drain()
	s.events, s.deaf = nil, false
}

// reopenAt returns when a Watcher that is not heard should be opened again, which does not wait for a tick; ok is false when there is nothing to open.
func (s *Sampler) reopenAt() (at time.Time, ok bool) {
	return s.retryAt, s.watches && s.pending == nil && (s.deaf || s.sensor == nil)
}

// noticed makes an alarm of what a Watcher noticed.
func (s *Sampler) noticed(e Event, open bool) {
	switch {
	case !open:
		s.events, s.deaf = nil, true
		s.retryAt = time.Now().Add(s.retry.Next())
	case s.emit != nil:
		why := e.Reason
		if why == "" {
			why = "noticed between two readings"
		}
		s.alarm(s.event(&e), why, false)
	}
}

// event makes a reading of what was noticed, calibrated and judged as others are.
func (s *Sampler) event(e *Event) Reading {
	at := s.opts.Clock.Stamp().Ago(max(time.Since(e.At), 0))
	r := Reading{Sensor: s.common.Name, At: at, Quality: Good, Tags: s.tags}
	err := checkSamples(e.Samples)
	if err == nil {
		r.Samples, err = calibrate(s.common.Calibration, e.Samples)
	}
	if err != nil {
		r.Quality, r.Reason = Failed, err.Error()
	} else if why := s.limits.outOfRange(r.Samples); why != "" {
		r.Quality, r.Reason = OutOfRange, why
	}
	s.count(func(st *Status) { st.Last = r })
	return r
}

// drain takes in what was noticed until now.
func (s *Sampler) drain() {
	for {
		select {
		case e, open := <-s.events:
			if !open {
				s.events = nil
				return
			}
			s.noticed(e, true)
		default:
			return
		}
	}
}
