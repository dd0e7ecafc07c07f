package sensors

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// maxSettle is how long after its deadline a driver may still hand in its own error, which says more than ours.
const maxSettle = 250 * time.Millisecond

// attempt is one call of a driver on a goroutine of its own.
type attempt struct {
	began time.Time
	done  chan outcome // holds one, so that the goroutine ends whether or not anybody waits
}

// outcome is what an attempt gives back: the sensor, when it is still usable, and the samples or an error, or samples with an ErrIncomplete.
type outcome struct {
	sensor  Sensor
	samples []Sample
	retries int
	err     error
}

// begin starts an attempt: open the sensor unless it is given, and read it. With renew the given one is halted first and opened anew.
func (s *Sampler) begin(ctx context.Context, sensor Sensor, renew bool) *attempt {
	a := &attempt{began: time.Now(), done: make(chan outcome, 1)}
	go func() {
		if renew {
			_ = halt(sensor) // it has been failing anyway
			sensor = nil
		}
		a.done <- s.openAndRead(ctx, sensor)
	}()
	return a
}

// openAndRead returns no sensor when it is to be opened anew: it is absent, or its driver panicked.
func (s *Sampler) openAndRead(ctx context.Context, sensor Sensor) outcome {
	if sensor == nil {
		var err error
		if sensor, err = s.open(ctx); err != nil {
			return outcome{err: err}
		}
	}
	samples, retries, err := s.readAgain(ctx, sensor)
	if len(samples) == 0 && (errors.Is(err, ErrAbsent) || errors.Is(err, errPanicked)) {
		_ = halt(sensor) // it is being given up because of err, which says more
		return outcome{retries: retries, err: err}
	}
	return outcome{sensor, samples, retries, err}
}

// readAgain reads, and again at once while that fails, as often as is configured and another try as long as the last has time until ctx's deadline.
func (s *Sampler) readAgain(ctx context.Context, sensor Sensor) (samples []Sample, retries int, err error) {
	for ; ; retries++ {
		began := time.Now()
		samples, err = s.read(ctx, sensor)
		if len(samples) > 0 || retries >= s.common.Retries || ctx.Err() != nil || errors.Is(err, errPanicked) {
			return samples, retries, err
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < time.Since(began) {
			return samples, retries, err
		}
	}
}

func (s *Sampler) open(ctx context.Context) (sensor Sensor, err error) {
	defer s.recovered(&err)
	sensor, err = s.cfg.Open(ctx, s.hw)
	if err != nil {
		return nil, err
	}
	s.setDevice(sensor.String())
	return sensor, nil
}

func (s *Sampler) read(ctx context.Context, sensor Sensor) (samples []Sample, err error) {
	defer s.recovered(&err)
	samples, err = sensor.Read(ctx)
	if err != nil && (len(samples) == 0 || !errors.Is(err, ErrIncomplete)) {
		return nil, err
	}
	if bad := checkSamples(samples); bad != nil {
		return nil, bad
	}
	return samples, err
}

var errPanicked = errors.New("driver panicked; this is a defect of iotagent, please report it")

// recovered turns a panic of a driver into an error: one bad driver must not end the daemon.
func (s *Sampler) recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%w: %v", errPanicked, v)
		s.notes.log.Error("driver panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	}
}

// halt halts a sensor, if there is one.
func halt(sensor Sensor) (err error) {
	if sensor == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errPanicked, v)
		}
	}()
	return sensor.Halt()
}

// wait returns the outcome, if it comes until settle after ctx is done. What the sensor notices meanwhile is not held up.
func (s *Sampler) wait(ctx context.Context, a *attempt, settle time.Duration) (outcome, bool) {
	expired := ctx.Done()
	var grace <-chan time.Time
	for {
		select {
		case out := <-a.done:
			return out, true
		case e, open := <-s.events:
			s.noticed(e, open)
		case <-expired:
			expired, grace = nil, time.After(settle)
		case <-grace:
			return outcome{}, false
		}
	}
}

// hanging is the error of a reading that could not be taken because this attempt has not returned.
func (a *attempt) hanging() error {
	return fmt.Errorf("the read has been hanging for %s, the sensor or its bus does not answer: %w",
		time.Since(a.began).Round(100*time.Millisecond), errHanging)
}

// errHanging is an ErrTimeout that the driver did not notice itself.
var errHanging = fmt.Errorf("%w", ErrTimeout)
