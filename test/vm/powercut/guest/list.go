package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"iotagent/outbox"
)

// look lists the outbox in dir, a copy that may be changed. Where there is none, nothing is listed.
func look(ctx context.Context, p *port, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		p.say("listed 0")
		return nil
	}
	q, err := open(p, dir, nil)
	if err != nil {
		return err
	}
	return errors.Join(list(ctx, p, q), q.Close())
}

// open opens the outbox and tells how long it took.
func open(p *port, dir string, o *outbox.Options) (*outbox.Outbox, error) {
	q, err := outbox.Open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("the outbox does not open: %w", err)
	}
	p.say("open %d %016x", p.ms(), q.Stats().Epoch)
	return q, nil
}

// list tells all that the outbox holds, as a drain would find it, and gives everything back.
func list(ctx context.Context, p *port, q *outbox.Outbox) error {
	if err := check(ctx, p, q); err != nil {
		return err
	}
	all, err := handOut(p, q)
	if err != nil {
		return err
	}
	q.Release(all...)
	dead, err := q.DeadLetters(100_000)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	for _, d := range dead {
		p.say("dead %s", d.ID)
	}
	p.say("listed %d", len(all))
	return nil
}

// handOut takes everything out of the queue and tells it. The outbox may be busy with a file for a moment.
func handOut(p *port, q *outbox.Outbox) (all []outbox.ID, err error) {
	for patience := time.After(30 * time.Second); ; {
		changed := q.Changed()
		es, err := q.Next(1000, 8<<20)
		if err != nil {
			return nil, fmt.Errorf("next: %w", err)
		}
		for _, e := range es {
			all = append(all, e.ID)
			p.say("%s", describe(&e))
		}
		s := q.Stats()
		if len(es) > 0 {
			continue
		}
		if queued(&s) <= uint64(s.InFlight) {
			return all, nil
		}
		select {
		case <-changed:
		case <-patience:
			return nil, fmt.Errorf("%d messages are queued, and only %d are handed out", queued(&s), s.InFlight)
		}
	}
}

func queued(s *outbox.Stats) (n uint64) {
	for _, lane := range s.Queued {
		n += lane
	}
	return n
}

func describe(e *outbox.Entry) string {
	if g := e.Gap; g != nil {
		return fmt.Sprintf("gap %s %016x %s %d %d %d %s", e.ID, g.Epoch, g.Lane, g.From, g.To, g.Messages, g.Reason)
	}
	producer, n, ok := parse(e.Body)
	if !ok {
		return fmt.Sprintf("bad %s", e.ID)
	}
	return fmt.Sprintf("item %s %d %d", e.ID, producer, n)
}

func check(ctx context.Context, p *port, q *outbox.Outbox) error {
	r, err := q.Check(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	for _, f := range r.Files {
		if f.Problem != "" {
			p.say("check %s: %s", f.Name, f.Problem)
		}
	}
	if r.Sound() {
		p.say("check sound")
	}
	for _, name := range q.Stats().SetAside {
		p.say("check %s was set aside", name)
	}
	return nil
}
