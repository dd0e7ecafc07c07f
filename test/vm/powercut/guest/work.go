package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"iotagent/outbox"
)

const (
	dir       = "/disk/outbox"
	producers = 6
	lowWater  = 500 // the drainer works the queue down to this many messages,
	highWater = 6000
)

// work opens the outbox, lists it, and puts and acknowledges until the machine is cut off. BOOT keeps the producers of every start
// apart.
func work(ctx context.Context, p *port, name, boot string) error {
	all := modes()
	i := slices.IndexFunc(all, func(m mode) bool { return m.name == name })
	if i < 0 {
		return fmt.Errorf("no mode %q", name)
	}
	number, err := strconv.ParseUint(boot, 10, 32)
	if err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	m := &all[i]
	q, err := open(p, dir, &m.options)
	if err != nil {
		return err
	}
	if err := list(ctx, p, q); err != nil || name == "look" {
		return errors.Join(err, q.Close())
	}
	p.say("work %d", m.options.MaxLoss.Milliseconds())
	g, ctx := errgroup.WithContext(ctx)
	for i := range uint64(producers) {
		g.Go(func() error { return produce(ctx, p, q, number*producers+i+1) })
	}
	if m.drain {
		g.Go(func() error { return drain(ctx, p, q) })
	}
	g.Go(func() error {
		for every := time.Tick(20 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				return nil
			case <-every:
				p.say("now %d", p.ms())
			}
		}
	})
	return g.Wait()
}

// produce puts messages of one lane for ever: one half of the producers durable ones, the other half readings, with a pause after each put
// so that they do not fill the memory where nothing waits for the disk.
func produce(ctx context.Context, p *port, q outbox.Queue, producer uint64) error {
	lane, durable := outbox.Lane(producer%3), producer%2 == 0
	r := rand.New(rand.NewPCG(producer, 0)) //nolint:gosec // G404: how many messages go into a put is no secret
	for n := uint64(0); ; {
		ms := make([]outbox.Message, 1+r.IntN(60))
		for i := range ms {
			ms[i] = outbox.Message{Lane: lane, Durable: durable, Readings: 1, Body: body(producer, n+uint64(i))}
		}
		ids, err := q.Put(ctx, ms...)
		if err != nil {
			return fmt.Errorf("put: %w", err)
		}
		p.say("put %d %t %d %d %s", p.ms(), durable, producer, n, join(ids))
		n += uint64(len(ms))
		if durable {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// drain acknowledges what is over the high-water mark down to the low one, gives some back and rejects a few.
func drain(ctx context.Context, p *port, q *outbox.Outbox) error {
	for every := time.Tick(20 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-every:
		}
		s := q.Stats()
		if queued(&s) < highWater {
			continue
		}
		for round := 1; queued(&s) > lowWater && ctx.Err() == nil; round++ {
			n, err := settle(p, q, round)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			s = q.Stats()
		}
	}
}

// settle acknowledges the next few messages and returns how many were there.
func settle(p *port, q *outbox.Outbox, round int) (n int, err error) {
	es, err := q.Next(100, 1<<20)
	if err != nil {
		return 0, fmt.Errorf("next: %w", err)
	}
	ids := make([]outbox.ID, len(es))
	for i, e := range es {
		ids[i] = e.ID
	}
	if round%5 == 0 { // as after a link that broke
		q.Release(ids[len(ids)/2:]...)
		ids = ids[:len(ids)/2]
	}
	if len(ids) == 0 {
		return len(es), nil
	}
	if err := p.ask(ids); err != nil {
		return 0, err
	}
	if last := len(ids) - 1; round%40 == 0 && es[last].Gap == nil {
		if err := q.Reject(ids[last], "test"); err != nil {
			return 0, fmt.Errorf("reject: %w", err)
		}
		p.say("rejected %s", ids[last])
		ids = ids[:last]
	}
	asked := p.ms()
	if err := q.Ack(ids...); err != nil {
		return 0, fmt.Errorf("ack: %w", err)
	}
	if len(ids) > 0 {
		p.say("acked %d %s", asked, join(ids))
	}
	return len(es), nil
}
