package sensors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"iotagent/internal/backoff"
	"iotagent/internal/clock"
)

// SamplerOptions changes what a Sampler does. The zero value is right for production.
type SamplerOptions struct {
	// Clock stamps the readings. Nil means the machine's clock.
	Clock *clock.Clock
	// Logger hears of changes: a sensor that begins to fail, fails for another reason or reads again, at most one line a minute.
	// Nil means silence.
	Logger *slog.Logger
	// RetryFloor and RetryCap bound the waits between attempts to open an absent sensor. 0 means 1 s and 15 s: who plugs a sensor in stands in front of
	// it, and an attempt costs the bus one transaction.
	RetryFloor, RetryCap time.Duration
	// Grace is how long a stop waits for a read that is under way and for Halt. 0 means 1 s.
	Grace time.Duration
}

// The defaults of Common and of SamplerOptions.
const (
	defaultInterval = 10 * time.Second
	defaultTimeout  = 5 * time.Second
	defaultFloor    = time.Second
	defaultCap      = 15 * time.Second
	defaultGrace    = time.Second
)

const (
	// renewAfter failed readings in a row the sensor is halted and opened anew, whatever the errors say.
	renewAfter = 5
	// stableAfter good readings in a row the wait before the next attempt to open starts small again.
	stableAfter = 3
)

// Sampler takes the readings of one configured sensor. Run, or any number of Once one after the other, is for one goroutine;
// Name and Status may be called by any.
//
// A driver's Open, Read and Halt run on a goroutine beside, one at a time, so that a driver that ignores its deadline
// holds up neither the schedule nor the stop.
type Sampler struct {
	common   Common
	cfg      Config
	hw       Hardware
	opts     SamplerOptions
	interval time.Duration
	plan     schedule
	timeout  time.Duration
	tags     []Tag
	notes    *notes

	// What follows belongs to the goroutine that calls Run or Once.
	sensor  Sensor   // open, and not lent to an attempt; nil otherwise
	pending *attempt // a read that did not return in time
	retry   backoff.Backoff
	retryAt time.Time // no attempt to open before this
	lastErr error     // why the last attempt to open failed
	good    int       // good readings in a row
	bad     int       // failed ones in a row, with the sensor open
	unseen  []string  // names of samples that the configuration has and no reading had yet
	looked  int       // good readings in which they were looked for
	watched
	stages

	mu     sync.Mutex
	status Status
}

// NewSampler returns the sampler of the sensor that cfg describes; it does no I/O. Make those of all sensors before the first is used, so that the
// buses know what is on them. Nil options mean defaults.
func NewSampler(common Common, cfg Config, hw Hardware, o *SamplerOptions) *Sampler {
	s := &Sampler{common: common, cfg: cfg, hw: hw}
	if o != nil {
		s.opts = *o
	}
	if s.opts.Clock == nil {
		s.opts.Clock = clock.New(nil)
	}
	if s.opts.Logger == nil {
		s.opts.Logger = slog.New(slog.DiscardHandler)
	}
	s.interval = orDefault(common.Interval.Duration, defaultInterval)
	s.timeout = orDefault(common.Timeout.Duration, min(defaultTimeout, s.interval))
	s.opts.Grace = orDefault(s.opts.Grace, defaultGrace)
	s.retry.Floor = orDefault(s.opts.RetryFloor, defaultFloor)
	s.retry.Cap = max(orDefault(s.opts.RetryCap, defaultCap), s.retry.Floor)
	s.tags, s.unseen = common.tags(), common.samples()
	s.plan = schedule{
		interval: s.interval, offset: common.Offset.Duration, jitter: common.Jitter.Duration, align: common.Align, clock: s.opts.Clock,
	}
	s.stages = newStages(&s.common, s.interval)
	if w, ok := cfg.(Watching); ok {
		s.watches = w.Watches()
	}
	s.notes = &notes{log: s.opts.Logger.With("sensor", common.Name, "type", common.Type)}
	s.status = Status{Name: common.Name, Type: common.Type, Interval: s.interval}
	announce(hw, cfg)
	return s
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// Name returns the configured name.
func (s *Sampler) Name() string { return s.common.Name }

// Once opens the sensor, takes one reading, halts the sensor and returns the reading with the time it took. The reading is calibrated and judged; what
// takes several, such as alarms and windows, is left out.
func (s *Sampler) Once(ctx context.Context) (Reading, time.Duration) {
	s.retryAt = time.Time{} // a person asks now
	r, _, took := s.take(ctx)
	if err := s.close(); err != nil && r.Quality == Good {
		s.notes.log.Warn("sensor did not halt", "error", err)
	}
	return r, took
}

// take makes one reading, good or failed, within the timeout and a little.
func (s *Sampler) take(ctx context.Context) (Reading, condition, time.Duration) {
	r := Reading{Sensor: s.common.Name, At: s.opts.Clock.Stamp(), Quality: Good, Tags: s.tags}
	began := time.Now()
	samples, err := s.measure(ctx)
	took := time.Since(began)
	if len(samples) > 0 {
		var bad error
		if samples, bad = calibrate(s.common.Calibration, samples); bad != nil {
			err = bad
		}
	}
	switch {
	case len(samples) > 0:
		r.Samples = samples
		if err != nil {
			r.Quality, r.Reason = Partial, err.Error()
		}
		s.judge(&r)
	case s.pending != nil && s.pending.began.Before(began): // it has been told as an error; since then nothing has come
		r.Quality, r.Reason = Stale, err.Error()
	default:
		r.Quality, r.Reason = Failed, err.Error()
	}
	if ctx.Err() == nil || err == nil {
		s.record(r, err, took)
	}
	return r, conditionOf(err), took
}

// judge says how far the samples of a reading may be believed.
func (s *Sampler) judge(r *Reading) {
	if why := s.still.stuck(r.Samples, r.At.Mono); why != "" {
		r.Quality, r.Reason = Stale, joined(why, r.Reason)
	}
	if why := s.limits.outOfRange(r.Samples); why != "" {
		r.Quality, r.Reason = OutOfRange, joined(why, r.Reason)
	}
	if len(s.unseen) > 0 {
		s.checkNames(r.Samples)
	}
}

// joined puts two reasons together; either may be empty.
func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// measure opens the sensor if it must and may, and reads it.
func (s *Sampler) measure(ctx context.Context) ([]Sample, error) {
	if s.pending != nil {
		select {
		case out := <-s.pending.done:
			s.pending = nil
			s.settle(out) // a value that came too late is not a reading; the sensor may be used again
		default:
			return nil, s.pending.hanging()
		}
	}
	if s.sensor == nil && time.Now().Before(s.retryAt) {
		return nil, s.lastErr
	}
	limit, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	renew := s.bad >= renewAfter || s.deaf && !time.Now().Before(s.retryAt)
	if renew {
		s.unlisten()
	}
	a := s.begin(limit, s.sensor, renew)
	s.sensor = nil // the attempt has it until it returns
	out, ok := s.wait(limit, a, min(s.timeout/4, maxSettle))
	if !ok {
		s.pending = a
		return nil, a.hanging()
	}
	s.settle(out)
	if len(out.samples) == 0 && ctx.Err() == nil && limit.Err() != nil {
		return nil, fmt.Errorf("%w (a reading may take %s here: the timeout of this sensor)", out.err, s.timeout)
	}
	return out.samples, out.err
}

// settle takes the sensor back from an attempt and decides whether it must be opened anew.
func (s *Sampler) settle(out outcome) {
	s.sensor = out.sensor
	s.listen()
	s.count(func(st *Status) { st.Retries += uint64(out.retries) })
	if s.bad >= renewAfter {
		s.bad = 0 // it was opened anew
	}
	if len(out.samples) > 0 {
		s.good, s.bad = s.good+1, 0
	} else {
		s.good, s.bad = 0, s.bad+1
	}
	if s.good >= stableAfter {
		s.retry.Reset()
	}
	if s.sensor == nil {
		s.bad = 0
		s.lastErr = out.err
		s.retryAt = time.Now().Add(s.retry.Next())
	}
}

// close halts the sensor, giving a read under way and Halt together no longer than Grace.
func (s *Sampler) close() error {
	limit := time.NewTimer(s.opts.Grace)
	defer limit.Stop()
	halted := make(chan error, 1)
	sensor, pending := s.sensor, s.pending
	s.sensor, s.pending = nil, nil
	go func() {
		if pending != nil {
			sensor = (<-pending.done).sensor
		}
		halted <- halt(sensor)
	}()
	select {
	case err := <-halted:
		if err != nil {
			return fmt.Errorf("sensor %q: halt: %w", s.common.Name, err)
		}
		return nil
	case <-limit.C:
		if pending != nil {
			return fmt.Errorf("sensor %q: left at stop: %w", s.common.Name, pending.hanging())
		}
		return fmt.Errorf("sensor %q: halt has not returned after %s: %w", s.common.Name, s.opts.Grace, ErrTimeout)
	}
}

// checkSamples holds a driver to its contract, so that no message carries a value that is none.
func checkSamples(samples []Sample) error {
	if len(samples) == 0 {
		return errors.New("the driver returned no values")
	}
	for _, s := range samples {
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			return fmt.Errorf("%s is %g, which is no measurement", s.Name, s.Value)
		}
	}
	return nil
}
