package agent

import (
	"context"
	"errors"
	"log/slog"
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
	pending []outbox.Message

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
		case <-timer.C:
			p.put(ctx) // what is pending
		}
		timer.Reset(p.flushDue(ctx))
	}
}

func (p *packer) take(ctx context.Context, lr laneReading) {
	p.count(func(c *PackCounts) { c.Readings++ })
	b := p.batches[lr.lane]
	if sealed := b.add(&lr.r); sealed != nil {
		p.put(ctx, *sealed)
	}
	if lr.lane == outbox.Alarm { // sealed alone, at once, and never sent before it is on disk
		if m := b.seal(p.clock.Mono()); m != nil {
			m.Durable = true
			p.put(ctx, *m)
		}
	}
}

// flushDue seals what has waited long enough and returns how long the next one may wait.
func (p *packer) flushDue(ctx context.Context) time.Duration {
	wait, now := p.o.wait(), p.clock.Mono()
	next := packerBeat
	if len(p.pending) > 0 {
		next = pendingRetry
	}
	for _, b := range p.batches {
		if b.due(now, wait) {
			if m := b.seal(now); m != nil {
				p.put(ctx, *m)
			}
		}
		if b.count > 0 {
			next = min(next, wait-(now-b.oldest))
		}
	}
	return max(next, time.Millisecond)
}

func (p *packer) sealAll(ctx context.Context) {
	for _, b := range p.batches {
		if m := b.seal(p.clock.Mono()); m != nil {
			p.put(ctx, *m)
		}
	}
	p.put(ctx)
	if len(p.pending) > 0 {
		p.lose(len(p.pending), "stopping with a full outbox")
	}
}

// put gives the outbox what is pending and ms, in order.
func (p *packer) put(ctx context.Context, ms ...outbox.Message) {
	p.pending = append(p.pending, ms...)
	for len(p.pending) > 0 {
		_, err := p.queue.Put(context.WithoutCancel(ctx), p.pending[0])
		if err != nil && !errors.Is(err, outbox.ErrNotDurable) {
			break // the outbox itself says loudly why
		}
		p.pending[0] = outbox.Message{}
		p.pending = p.pending[1:]
		p.count(func(c *PackCounts) { c.Messages++ })
	}
	if over := len(p.pending) - maxPending; over > 0 {
		p.lose(over, "disk and memory are full")
	}
}

// lose drops the n oldest pending messages, and says so.
func (p *packer) lose(n int, why string) {
	var readings int
	for _, m := range p.pending[:n] {
		readings += m.Readings
	}
	p.pending = p.pending[n:]
	p.count(func(c *PackCounts) { c.ReadingsLost += uint64(readings) })
	p.log.Error("readings lost", "readings", readings, "messages", n, "why", why)
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
