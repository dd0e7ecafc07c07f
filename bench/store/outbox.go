package store

import (
	"context"
	"fmt"

	"iotagent/outbox"
)

type outboxStore struct{ q *outbox.Outbox }

func openOutbox(dir string, queued int) (Store, error) {
	// The quota is far away: a bench of the queue, not of dropping.
	q, err := outbox.Open(dir, &outbox.Options{MaxBytes: max(256<<20, int64(queued)*1024), MinFree: -1})
	if err != nil {
		return nil, err
	}
	return &outboxStore{q}, nil
}

func (s *outboxStore) Put(ctx context.Context, bodies [][]byte) error {
	ms := make([]outbox.Message, len(bodies))
	for i, b := range bodies {
		ms[i] = outbox.Message{Lane: outbox.Normal, Durable: true, Readings: 1, Body: b}
	}
	_, err := s.q.Put(ctx, ms...)
	return err
}

func (s *outboxStore) Concurrent() bool { return true }

func (s *outboxStore) Peek(context.Context) (int, error) {
	es, err := s.q.Next(1, 1<<20)
	if err != nil || len(es) == 0 {
		return 0, err
	}
	s.q.Release(es[0].ID)
	return len(es[0].Body), nil
}

func (s *outboxStore) Take(ctx context.Context, n int) (int, error) {
	es, err := s.q.Next(n, 64<<20)
	if err != nil || len(es) == 0 {
		return 0, err
	}
	ids := make([]outbox.ID, len(es))
	for i, e := range es {
		if e.Gap != nil {
			return 0, fmt.Errorf("outbox: lost messages: %+v", *e.Gap)
		}
		ids[i] = e.ID
	}
	if err := s.q.Ack(ids...); err != nil {
		return 0, err
	}
	return len(es), s.q.Sync(ctx)
}

func (s *outboxStore) Close() error { return s.q.Close() }
