package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"iotagent/outbox"
)

// consumer takes messages out of the outbox as a hub does that accepts most, gives some back and refuses few, with outages. It watches
// that nothing comes twice and that first times come in order.
type consumer struct {
	w      *worker
	q      *outbox.Outbox
	r      *rand.Rand
	flight []outbox.ID
	done   map[outbox.ID]bool // in flight, acknowledged or rejected: must not come
	last   map[lane]uint64
}

// lane is one order of first times.
type lane struct {
	epoch uint64
	lane  outbox.Lane
}

func newConsumer(w *worker, q *outbox.Outbox, r *rand.Rand) *consumer {
	return &consumer{w: w, q: q, r: r, done: map[outbox.ID]bool{}, last: map[lane]uint64{}}
}

func (c *consumer) run(stop <-chan struct{}) {
	for working := true; working; {
		pause := time.Duration(c.r.IntN(10)) * time.Millisecond
		if c.r.IntN(20) == 0 {
			pause = 200 * time.Millisecond // an outage
		}
		working = wait(stop, pause)
		if err := c.round(); err != nil {
			c.w.tell(&note{What: wrong, Error: err.Error()})
			return
		}
	}
}

func (c *consumer) round() error {
	most := c.w.Take
	if most == 0 {
		most = 100
	}
	es, err := c.q.Next(1+c.r.IntN(most), 256<<10)
	if err != nil {
		return fmt.Errorf("next: %w", err)
	}
	n := &note{What: gaps}
	for i := range es {
		if err := c.take(&es[i]); err != nil {
			return err
		}
		if es[i].Gap != nil {
			n.Gaps = append(n.Gaps, *es[i].Gap)
		}
	}
	if n.Gaps != nil {
		c.w.tell(n)
	}
	c.r.Shuffle(len(c.flight), func(i, j int) { c.flight[i], c.flight[j] = c.flight[j], c.flight[i] })
	some := min(c.r.IntN(most+20), len(c.flight))
	settle := c.flight[:some]
	c.flight = slices.Clone(c.flight[some:])
	switch c.r.IntN(10) {
	case 0:
		for _, id := range settle {
			delete(c.done, id)
		}
		c.q.Release(settle...)
		return nil
	case 1:
		if some > 0 {
			if err := c.reject(settle[0]); err != nil {
				return err
			}
			settle = settle[1:]
		}
	}
	return c.ack(settle)
}

// take checks one entry.
func (c *consumer) take(e *outbox.Entry) error {
	if c.done[e.ID] {
		return fmt.Errorf("%s was handed out again", e.ID)
	}
	c.done[e.ID] = true
	c.flight = append(c.flight, e.ID)
	if e.Gap != nil {
		return nil
	}
	if _, err := number(e.Body); err != nil {
		return fmt.Errorf("%s: %w", e.ID, err)
	}
	l := lane{e.ID.Epoch, e.ID.Lane}
	if !e.Sent && !c.w.Unordered && e.ID.Seq <= c.last[l] {
		return fmt.Errorf("%s for the first time, after %d", e.ID, c.last[l])
	}
	c.last[l] = max(c.last[l], e.ID.Seq)
	return nil
}

func (c *consumer) ack(ids []outbox.ID) error {
	if len(ids) == 0 {
		return nil
	}
	n := &note{What: acking, IDs: ids}
	c.w.tell(n)
	if err := c.q.Ack(ids...); err != nil {
		return fmt.Errorf("ack: %w", err)
	}
	n.What = acked
	c.w.tell(n)
	return nil
}

func (c *consumer) reject(id outbox.ID) error {
	n := &note{What: rejecting, IDs: []outbox.ID{id}}
	c.w.tell(n)
	err := c.q.Reject(id, "refused by the test")
	if errors.Is(err, outbox.ErrNotDurable) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reject: %w", err)
	}
	n.What = rejected
	c.w.tell(n)
	return nil
}
