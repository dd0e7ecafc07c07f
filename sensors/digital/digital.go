package digital

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"iotagent/sensors"
)

// device is one input. A goroutine of its own takes the edges, until the line is let go or gone; then it closes events.
type device struct {
	in     sensors.Input
	edges  bool // were asked for
	events chan sensors.Event
	done   chan struct{}
	// suppressed counts edges that made no event, since the last reading.
	suppressed atomic.Uint64
}

var _ sensors.Watcher = (*device)(nil)

func open(in sensors.Input, c *Config) *device {
	d := &device{in: in, edges: c.Edges != "none", events: make(chan sensors.Event, c.MaxEvents), done: make(chan struct{})}
	go d.watch(newBucket(c.MaxEvents))
	return d
}

// String names the input.
func (d *device) String() string { return "digital@" + d.in.String() }

// Events delivers the edges.
func (d *device) Events() <-chan sensors.Event { return d.events }

// Read asks for the level.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	active, err := d.in.Read()
	if err != nil {
		return nil, fmt.Errorf("digital@%w", err)
	}
	select {
	case <-d.done:
		return nil, fmt.Errorf("%s: the kernel has let the line go: %w", d, sensors.ErrAbsent)
	default:
	}
	samples := []sensors.Sample{state(active)}
	if d.edges {
		samples = append(samples, sensors.Sample{Name: "suppressed_events_count", Value: float64(d.suppressed.Swap(0))})
	}
	return samples, nil
}

// Halt lets the line go.
func (d *device) Halt() error {
	err := d.in.Close()
	<-d.done
	return err
}

// watch makes events of edges. It waits for nobody: what does not fit is counted.
func (d *device) watch(limit *bucket) {
	defer close(d.done)
	defer close(d.events)
	var last uint32
	for e := range d.in.Edges() {
		d.suppressed.Add(uint64(e.Seq - last - 1)) // lost by the kernel
		last = e.Seq
		if !limit.take(e.At) {
			d.suppressed.Add(1)
			continue
		}
		select {
		case d.events <- event(e):
		default:
			d.suppressed.Add(1)
		}
	}
}

func event(e sensors.Edge) sensors.Event {
	reason := "falling edge: the input became inactive"
	if e.Active {
		reason = "rising edge: the input became active"
	}
	return sensors.Event{At: e.At, Samples: []sensors.Sample{state(e.Active)}, Reason: reason}
}

func state(active bool) sensors.Sample {
	s := sensors.Sample{Name: "active_state"}
	if active {
		s.Value = 1
	}
	return s
}

// bucket lets so many through at once, and as many a minute.
type bucket struct {
	each  time.Duration // the share of a minute of one
	spent time.Time     // the shares of those that went through reach to here
}

func newBucket(perMinute int) *bucket { return &bucket{each: time.Minute / time.Duration(perMinute)} }

func (b *bucket) take(at time.Time) bool {
	if b.spent.Before(at) {
		b.spent = at
	}
	if b.spent.Sub(at) > time.Minute-b.each {
		return false
	}
	b.spent = b.spent.Add(b.each)
	return true
}
