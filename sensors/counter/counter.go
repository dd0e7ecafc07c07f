package counter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"iotagent/sensors"
)

// device is one counter. A goroutine of its own counts and saves, until the line is let go or gone; then it closes events.
type device struct {
	in     sensors.Input
	cfg    *Config
	events chan sensors.Event
	stop   chan struct{} // closed by Halt
	done   chan struct{}
	gone   atomic.Bool // a reading found that the chip is

	// store, last and failing belong to the goroutine, then to Halt.
	store   *store
	last    uint32 // number of the last edge
	failing error  // why the total could not be written the last time

	mu     sync.Mutex
	count  count
	before reading
}

// count is what the goroutine tells the readings.
type count struct {
	pulses, uncertain uint64
	last              time.Time // of the latest pulse; zero before the first
}

// reading is what a reading leaves to the next one.
type reading struct {
	at     time.Time // zero before the first
	pulses uint64
	pulse  time.Time // the latest in the time before this reading; zero if there was none
}

var _ sensors.Watcher = (*device)(nil)

func open(in sensors.Input, c *Config, s *store, damage string) *device {
	d := &device{in: in, cfg: c, events: make(chan sensors.Event, 16), stop: make(chan struct{}), done: make(chan struct{}), store: s}
	d.count = count{pulses: s.saved.Pulses, uncertain: s.saved.Uncertain}
	if !s.saved.Clean {
		d.doubt(fmt.Sprintf("the last run ended uncleanly (power cut, crash): pulses of up to %s may be missing from the total", c.SaveInterval))
	}
	if damage != "" {
		d.doubt(fmt.Sprintf("%s: the total begins at %g again", damage, c.Initial))
	}
	go d.serve()
	return d
}

// String names the input.
func (d *device) String() string { return "counter@" + d.in.String() }

// Events tells when the total became uncertain.
func (d *device) Events() <-chan sensors.Event { return d.events }

// Read returns the total and the rate since the last Read.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	if _, err := d.in.Read(); err != nil {
		if errors.Is(err, sensors.ErrAbsent) {
			d.gone.Store(true)
		}
		return nil, fmt.Errorf("counter@%w", err)
	}
	select {
	case <-d.done:
		return nil, fmt.Errorf("%s: the kernel has let the line go: %w", d, sensors.ErrAbsent)
	default:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	samples := []sensors.Sample{
		{Name: d.cfg.TotalName, Value: d.totalLocked()},
		{Name: uncertainName, Value: float64(d.count.uncertain)},
	}
	if perSecond, known := d.rateLocked(time.Now()); known {
		samples = append(samples, sensors.Sample{Name: d.cfg.RateName, Value: perSecond * d.cfg.Scale})
	}
	return samples, nil
}

func (d *device) totalLocked() float64 { return d.cfg.Initial + float64(d.count.pulses)*d.cfg.Scale }

// rateLocked returns the pulses per second since the last reading. It is not known at the first.
func (d *device) rateLocked(now time.Time) (perSecond float64, known bool) {
	before := d.before
	d.before = reading{at: now, pulses: d.count.pulses}
	n := d.count.pulses - before.pulses
	if n > 0 {
		d.before.pulse = d.count.last
	}
	over := now.Sub(before.at)
	if n > 0 && !before.pulse.IsZero() {
		over = d.count.last.Sub(before.pulse)
	}
	switch {
	case before.at.IsZero(), n > 0 && over <= 0:
		return 0, false
	case n == 0:
		return 0, true
	}
	return float64(n) / over.Seconds(), true
}

// Halt saves the total and then lets the line go: the next who takes it finds the total in the file.
func (d *device) Halt() error {
	close(d.stop)
	<-d.done
	err := d.in.Close()
	if d.failing != nil {
		err = errors.Join(err, fmt.Errorf("%s: the total was not saved: %w", d, d.failing))
	}
	return err
}

// serve counts and saves. A file that says that it is clean must not be left so when a pulse comes.
func (d *device) serve() {
	defer close(d.done)
	defer close(d.events)
	d.save(true) // what was found at the start, if it was anything
	timer := time.NewTimer(d.cfg.SaveInterval.Duration)
	defer timer.Stop()
	for {
		select {
		case e, ok := <-d.in.Edges():
			if !ok {
				d.lost()
				d.save(true)
				return
			}
			d.add(e)
			if d.store.saved.Clean && d.failing == nil {
				d.save(false)
				timer.Reset(d.cfg.SaveInterval.Duration)
			}
		case <-d.stop:
			if open := d.rest(); !open || d.gone.Load() {
				d.lost()
			}
			d.save(true)
			return
		case <-timer.C:
			quiet := d.count.pulses == d.store.saved.Pulses
			if d.save(quiet); !quiet || d.failing != nil {
				timer.Reset(d.cfg.SaveInterval.Duration)
			}
		}
	}
}

// How long Halt waits for the next of the edges that are on their way from the kernel, and for all of them.
const (
	restPause = 5 * time.Millisecond
	restLimit = 100 * time.Millisecond
)

// rest counts the edges from before Halt. After a flood the kernel has more of them than the channel. It reports whether the line is still held.
func (d *device) rest() (open bool) {
	limit := time.NewTimer(restLimit)
	defer limit.Stop()
	for {
		select {
		case e, ok := <-d.in.Edges():
			if !ok {
				return false
			}
			d.add(e)
		case <-time.After(restPause):
			return true
		case <-limit.C:
			return true
		}
	}
}

// lost says that the line was let go by the kernel, and not by Halt.
func (d *device) lost() {
	d.doubt("the kernel has let the line go (unplugged?): pulses until it is back are missing from the total")
}

// add counts an edge, and those before it that the kernel had no room for.
func (d *device) add(e sensors.Edge) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count.pulses += uint64(e.Seq - d.last)
	d.count.last = e.At
	d.last = e.Seq
}

// save writes what is counted. Clean says that nothing was counted since the last time, or will be.
func (d *device) save(clean bool) {
	st := state{Pulses: d.count.pulses, Clean: clean, Uncertain: d.count.uncertain} // only this goroutine writes them
	err := d.store.save(st)
	if err != nil && d.failing == nil {
		d.doubt(fmt.Sprintf("the total cannot be saved, and will be lost at a restart: %v", err))
	}
	d.failing = err
}

// doubt says, for good, that pulses may be missing.
func (d *device) doubt(reason string) {
	d.mu.Lock()
	d.count.uncertain++
	samples := []sensors.Sample{{Name: d.cfg.TotalName, Value: d.totalLocked()}, {Name: uncertainName, Value: float64(d.count.uncertain)}}
	d.mu.Unlock()
	select {
	case d.events <- sensors.Event{At: time.Now(), Samples: samples, Reason: reason}:
	default: // nobody listens; the number stays
	}
}
