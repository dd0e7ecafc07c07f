package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iotagent/bench/device"
	"iotagent/bench/payload"
	"iotagent/bench/report"
	"iotagent/outbox"
)

// scenario is an outage: ten messages a second, a commit each interval, then a drain with a commit for each thousand acks.
//
// Unless real, time is compressed: commits come at the simulated moments with a pause between them, because commits within one tick
// of the kernel's clock share an mtime and are cheaper than real ones. What the kernel does by timers is done at its simulated
// moments: the journal's commit every 5 s, the writeback of inodes every 30 s.
type scenario struct {
	store         string
	payload       payload.Kind
	interval      time.Duration
	span          time.Duration
	real, control bool
}

const (
	pause        = 12 * time.Millisecond
	journalEvery = 5 * time.Second
	inodesEvery  = 30 * time.Second
)

// away is what a scenario wrote.
type away struct {
	Store    string        `json:"store"`
	Payload  payload.Kind  `json:"payload"`
	Interval time.Duration `json:"max_loss_ns"`
	Span     time.Duration `json:"span_ns"`
	Real     bool          `json:"real_time"`
	Messages int           `json:"messages"`
	// Commits and OwnBytes are what the store itself counted while it filled: what is more on the device is the file system's.
	Commits  uint64 `json:"commits"`
	OwnBytes uint64 `json:"own_bytes"`
	// FillBytes and DrainBytes reached the device; Acks is how many commits the drain took.
	FillBytes  int64 `json:"fill_bytes"`
	DrainBytes int64 `json:"drain_bytes"`
}

// PerMessage is the figure that the budget is about: all that was written for a message, its ack included.
func (a away) PerMessage() float64 { return float64(a.FillBytes+a.DrainBytes) / float64(a.Messages) }

// Fill is without the acks.
func (a away) Fill() float64 { return float64(a.FillBytes) / float64(a.Messages) }

func (a away) String() string {
	return fmt.Sprintf("%s, %s, max_loss %v: %s bytes a message", a.Store, a.Payload, a.Interval, report.Number(a.PerMessage()))
}

// flashStore is what the hub's absence is survived with.
type flashStore interface {
	// Ready brings the store to where it is while the hub answers.
	Ready(ctx context.Context) error
	// Put takes a message; it need not be on the disk before Commit.
	Put(ctx context.Context, lane outbox.Lane, body []byte) error
	// Commit writes what was put and is not on the disk yet.
	Commit(ctx context.Context) error
	// Take hands out and acks up to n messages with one durable commit.
	Take(ctx context.Context, n int) (int, error)
	// Counted is how many commits there were, and what they wrote.
	Counted() (commits, bytes uint64)
	Close() error
}

func measureAway(ctx context.Context, v *device.Volume, s scenario) (a away, err error) {
	run := &outage{scenario: s, volume: v, at: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	if run.queue, err = openFlash(v.Dir, s, run.now); err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, run.queue.Close()) }()
	// An outage begins with the store in use: the zeros of a log and what an outbox makes once at its first start do not count, the
	// segments that it makes for the outage do.
	if err := run.queue.Ready(ctx); err != nil {
		return a, err
	}
	before, err := written(v)
	if err != nil {
		return a, err
	}
	oldCommits, oldBytes := run.queue.Counted()
	if err := run.fill(ctx); err != nil {
		return a, err
	}
	commits, own := run.queue.Counted()
	filled, err := written(v)
	if err != nil {
		return a, err
	}
	if !s.real && !s.control {
		if err := run.drain(ctx); err != nil {
			return a, err
		}
	}
	drained, err := written(v)
	return away{
		Store: s.store, Payload: s.payload, Interval: s.interval, Span: s.span, Real: s.real,
		Messages: run.messages, Commits: commits - oldCommits, OwnBytes: own - oldBytes, FillBytes: filled - before, DrainBytes: drained - filled,
	}, err
}

// written returns the bytes that the device has taken once nothing is held back.
func written(v *device.Volume) (int64, error) {
	if err := v.SyncFS(); err != nil {
		return 0, err
	}
	return v.WrittenBytes()
}

type outage struct {
	scenario
	volume   *device.Volume
	queue    flashStore
	at       time.Time // simulated
	messages int
	left     int
}

func (o *outage) now() time.Time {
	if o.real {
		return time.Now()
	}
	return o.at
}

func (o *outage) fill(ctx context.Context) error {
	maker := payload.New(o.payload, o.at)
	for t := payload.Interval; t <= o.span; t += payload.Interval {
		if err := o.wait(ctx, payload.Interval, o.real); err != nil {
			return err
		}
		body, _ := maker.Next()
		if err := o.queue.Put(ctx, laneOf(o.messages), body); err != nil {
			return err
		}
		o.messages++
		o.at = o.at.Add(payload.Interval)
		if err := o.tick(ctx, t); err != nil {
			return err
		}
	}
	o.left = o.messages
	if o.span%o.interval == 0 && !o.real {
		return nil
	}
	return o.queue.Commit(ctx)
}

// laneOf gives one message of a hundred to alarm, nine to bulk and the others to normal.
func laneOf(n int) outbox.Lane {
	switch n % 100 {
	case 50:
		return outbox.Alarm
	case 5, 16, 27, 38, 49, 60, 71, 82, 93:
		return outbox.Bulk
	}
	return outbox.Normal
}

// tick does what is due at t, with a pause before each thing.
func (o *outage) tick(ctx context.Context, t time.Duration) error {
	if o.real {
		return nil // the outbox and the kernel have timers of their own
	}
	for _, due := range []struct {
		every time.Duration
		do    func() error
	}{
		{o.interval, func() error { return o.queue.Commit(ctx) }},
		{journalEvery, o.volume.CommitJournal},
		{inodesEvery, o.volume.SyncFS},
	} {
		if t%due.every != 0 {
			continue
		}
		if err := o.wait(ctx, pause, true); err != nil {
			return err
		}
		if err := due.do(); err != nil {
			return err
		}
	}
	return nil
}

func (o *outage) wait(ctx context.Context, d time.Duration, really bool) error {
	if !really {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drain takes a thousand each simulated second.
func (o *outage) drain(ctx context.Context) error {
	o.interval = time.Hour // nothing is put any more
	for t := time.Second; o.left > 0; t += time.Second {
		if err := o.wait(ctx, pause, true); err != nil {
			return err
		}
		n, err := o.queue.Take(ctx, batch)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%s: %d messages are missing", o.store, o.left)
		}
		o.left -= n
		o.at = o.at.Add(time.Second)
		if err := o.tick(ctx, t); err != nil {
			return err
		}
	}
	return nil
}
