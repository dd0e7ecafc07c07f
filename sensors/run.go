package sensors

import (
	"context"
	"time"
)

// Run takes a reading at once (after the offset, if there is one) and then one each interval, and gives what comes of them to emit, the failed ones too, until ctx
// is done; what a Watcher notices it gives to emit when that happens. Readings keep to their grid (schedule); those that a slow sensor or a sleeping machine made
// impossible are left out. emit is called by this goroutine, and delays the next reading if it blocks.
//
// Run returns after the sensor is halted. A read that hangs in the kernel cannot be ended: after Grace its goroutine
// is left behind, to halt the sensor whenever the kernel returns, and Run's error says so. The error is never about a reading.
func (s *Sampler) Run(ctx context.Context, emit func(Reading)) error {
	s.emit = emit
	s.plan.begin(time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	told := conditionOf(nil)
	for {
		due := s.await(ctx, timer)
		if ctx.Err() != nil {
			break
		}
		r, kind, _ := s.take(ctx)
		if ctx.Err() != nil && len(r.Samples) == 0 {
			break // the stop broke it off; that says nothing about the sensor
		}
		if !due {
			if len(r.Samples) > 0 || kind != told { // that nobody watches is news, too
				told = kind
				s.pass(&r, kind, time.Now(), s.windowAt(time.Now()))
			}
			continue
		}
		told = kind
		s.tick(&r, kind)
	}
	err := s.close()
	s.drain() // what was noticed until the sensor was halted
	s.closeWindow(time.Now())
	return err
}

// tick passes on the reading of a tick, plans the next one, and closes the window that it ends.
func (s *Sampler) tick(r *Reading, kind condition) {
	now, tick := time.Now(), s.plan.due
	window := s.windowAt(now)
	s.pass(r, kind, tick, window)
	s.plan.next(now)
	if s.windowAt(now) != window {
		s.closeWindow(tick)
	}
}

// windowAt returns the number of the window of the next tick.
func (s *Sampler) windowAt(now time.Time) int64 {
	if s.window <= 0 {
		return 0
	}
	return s.plan.window(s.window, now)
}

// await returns when the next tick is due or, with due false, when a Watcher should be opened again before that; and when ctx is done.
func (s *Sampler) await(ctx context.Context, timer *time.Timer) (due bool) {
	for {
		now := time.Now()
		wait := s.plan.wake(now)
		again, lost := s.reopenAt()
		if lost {
			wait = min(wait, again.Sub(now))
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return false
		case e, open := <-s.events:
			s.noticed(e, open)
		case <-timer.C:
			now = time.Now()
			switch {
			case s.plan.reached(now):
				return true
			case lost && !now.Before(again):
				return false
			}
			s.plan.revise(now)
		}
	}
}
