package hubsim

import "time"

// SetClockOffset makes the hub's wall clock wrong by d, and right again with 0. Tokens and commands end by that clock at once.
func (s *Server) SetClockOffset(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew.Store(int64(d))
	now := s.opts.Now()
	for c := range s.conns {
		for _, g := range c.grants {
			if !g.expires.IsZero() {
				g.timer.Reset(g.expires.Sub(now) + s.opts.TokenGrace)
			}
		}
	}
	for _, d := range s.devices {
		d.commands.rearm(now)
	}
	s.feedback.queue.rearm(now)
}

// ClockOffset returns what SetClockOffset was given last.
func (s *Server) ClockOffset() time.Duration { return time.Duration(s.skew.Load()) }

// skewed is a clock that is off by the Server's offset.
func (s *Server) skewed(now func() time.Time) func() time.Time {
	return func() time.Time { return now().Add(s.ClockOffset()) }
}

// rearm lets messages expire by another clock.
func (q *queue) rearm(now time.Time) {
	for _, it := range q.items {
		it.lifeTimer.Reset(it.expires.Sub(now))
	}
}

// ResetFaults ends every fault that was set with a method. Options stay as they are.
func (s *Server) ResetFaults() {
	s.OnTelemetry(nil)
	s.OnToken(nil)
	s.SetTelemetryCredit(telemetryCredit)
	s.SetSessionWindow(-1)
	s.SetClockOffset(0)
	s.SetHole(HoleNone)
	s.SetReadRate(0)
	s.SetMuteEcho(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults{telemetryCredit: telemetryCredit, window: -1}
}
