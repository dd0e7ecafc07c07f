package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/sensors"
)

// laneReading is a reading on its way to the packer.
type laneReading struct {
	lane outbox.Lane
	r    sensors.Reading
}

// packer is the goroutine between the samplers and the outbox: it seals readings into messages and puts them.
type packer struct {
	queue outbox.Queue
	clock *clock.Clock
	log   *slog.Logger
	pulse *pulse
	o     PackOptions
	in    chan laneReading

	// batches is the loop's own.
	batches []*batch
	// pending are sealed messages that the outbox had no room for; the loop's own. They are tried again every second.
	pending []sealed
	// unsaid is how many readings were lost since the log was told, at saidAt; the loop's own.
	unsaid int
	saidAt time.Time

	mu     sync.Mutex
	counts PackCounts
}

// PackCounts is what went through the packer since the start.
type PackCounts struct {
	Readings uint64 `json:"readings"`
	Messages uint64 `json:"messages"`
	// ReadingsLost counts readings that neither disk nor memory had room for.
	ReadingsLost uint64 `json:"readings_lost"`
}

const (
	// readingsAhead is how many readings may wait for the packer while the disk is slow.
	readingsAhead = 1024
	// maxPending bounds what is kept while the outbox is full: 256 messages of 4 KiB are 1 MiB.
	maxPending   = 256
	pendingRetry = time.Second
	// lossEvery is how often the log is told of lost readings: it lies on flash too.
	lossEvery = time.Minute
	// packerBeat is how often the packer reports that it lives; the promise allows for a commit on a dying SD card.
	packerBeat    = 5 * time.Second
	packerPromise = 45 * time.Second
)

func newPacker(q outbox.Queue, c *clock.Clock, log *slog.Logger, p *pulse, o PackOptions) *packer {
	o = o.withDefaults()
	return &packer{
		queue: q, clock: c, log: log, pulse: p, o: o,
		in:      make(chan laneReading, readingsAhead),
		batches: []*batch{newBatch(outbox.Alarm, o), newBatch(outbox.Normal, o), newBatch(outbox.Bulk, o)},
	}
}

// emit hands a reading over; it blocks only while the disk is slower than the sensors for longer than readingsAhead.
func (p *packer) emit(lane outbox.Lane, r sensors.Reading) { p.in <- laneReading{lane, r} }

// run packs until in is closed, then seals what is open. It returns with everything put, as far as the outbox takes it.
func (p *packer) run(ctx context.Context) {
	defer p.pulse.done("packer")
	timer := time.NewTimer(packerBeat)
	defer timer.Stop()
	for {
		p.pulse.within("packer", packerPromise)
		select {
		case lr, ok := <-p.in:
			if !ok {
				p.sealAll(ctx)
				return
			}
			p.take(ctx, lr)
			for range len(p.in) { // what came while the disk was slow shares messages, however old it is
				p.take(ctx, <-p.in)
			}
		case <-timer.C:
			p.put(ctx) // what is pending
		}
		timer.Reset(p.flushDue(ctx))
	}
}

func (p *packer) take(ctx context.Context, lr laneReading) {
	p.count(func(c *PackCounts) { c.Readings++ })
	b := p.batches[lr.lane]
	p.put(ctx, b.add(&lr.r))
	switch {
	case lr.lane == outbox.Alarm: // sealed alone, at once, and never sent before it is on disk
		m := b.seal()
		m.Durable = true
		p.put(ctx, m)
	case p.o.wait() <= 0:
		p.put(ctx, b.seal())
	}
}

// flushDue seals what has waited long enough and returns how long the next one may wait.
func (p *packer) flushDue(ctx context.Context) time.Duration {
	wait, now := p.o.wait(), p.clock.Mono()
	next := packerBeat
	for _, b := range p.batches {
		if b.due(now, wait) {
			p.put(ctx, b.seal())
		}
		if b.count > 0 {
			next = min(next, wait-(now-b.oldest))
		}
	}
	if len(p.pending) > 0 {
		next = min(next, pendingRetry)
	}
	return max(next, time.Millisecond)
}

func (p *packer) sealAll(ctx context.Context) {
	for _, b := range p.batches {
		p.put(ctx, b.seal())
	}
	p.put(ctx)
	for len(p.pending) > 0 {
		p.lose(0)
	}
	p.sayLost("stopping with a full outbox")
}

// put gives the outbox what is pending and ms; a nil is none. The lanes are independent: within each the order is kept.
func (p *packer) put(ctx context.Context, ms ...*sealed) {
	for _, m := range ms {
		if m != nil {
			p.pending = append(p.pending, *m)
		}
	}
	var full [outbox.Bulk + 1]bool
	p.pending = slices.DeleteFunc(p.pending, func(m sealed) bool {
		full[m.Lane] = full[m.Lane] || !p.putOne(ctx, m)
		return !full[m.Lane]
	})
	for len(p.pending) > maxPending {
		p.lose(p.leastUrgent())
	}
	if time.Since(p.saidAt) >= lossEvery {
		p.sayLost("disk and memory are full, or a reading is larger than a message")
	}
}

// putOne reports whether the message is done with. What went wrong the outbox itself says loudly.
func (p *packer) putOne(ctx context.Context, m sealed) bool {
	m.Age = max(p.clock.Mono()-m.oldest, 0)
	p.pulse.within("packer", packerPromise) // each may be a commit, and a thousand alarms wait for a slow disk without being stuck
	_, err := p.queue.Put(context.WithoutCancel(ctx), m.Message)
	switch {
	case err == nil, errors.Is(err, outbox.ErrNotDurable): // one that is not durable yet is queued all the same
		p.count(func(c *PackCounts) { c.Messages++ })
		return true
	case errors.Is(err, outbox.ErrTooLarge): // it never will be smaller, and must not be in the way of others
		p.lost(m.Readings)
		return true
	}
	return false
}

// leastUrgent returns the oldest pending message of the least urgent lane.
func (p *packer) leastUrgent() int {
	i := 0
	for j, m := range p.pending {
		if m.Lane > p.pending[i].Lane {
			i = j
		}
	}
	return i
}

// lose drops the pending message at i.
func (p *packer) lose(i int) {
	p.lost(p.pending[i].Readings)
	p.pending = slices.Delete(p.pending, i, i+1)
}

func (p *packer) lost(readings int) {
	p.unsaid += readings
	p.count(func(c *PackCounts) { c.ReadingsLost += uint64(readings) })
}

func (p *packer) sayLost(why string) {
	if p.unsaid > 0 {
		p.log.Error("readings lost", "readings", p.unsaid, "why", why)
		p.unsaid, p.saidAt = 0, time.Now()
	}
}

func (p *packer) count(f func(*PackCounts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.counts)
}

func (p *packer) snapshot() PackCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}
