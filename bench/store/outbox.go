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
	return Drain(ctx, s.q, n)
}

func (s *outboxStore) Close() error { return s.q.Close() }

// Drain takes up to n messages from q, however many calls of Next that takes, and acks them with one durable commit.
func Drain(ctx context.Context, q outbox.Queue, n int) (int, error) {
	ids := make([]outbox.ID, 0, n)
	for len(ids) < n {
		es, err := q.Next(n-len(ids), 64<<20)
		if err != nil {
			return 0, err
		}
		if len(es) == 0 {
			break
		}
		for _, e := range es {
			if e.Gap != nil {
				return 0, fmt.Errorf("outbox: lost messages: %+v", *e.Gap)
			}
			ids = append(ids, e.ID)
		}
	}
	if len(ids) == 0 {
		return 0, nil
	}
	if err := q.Ack(ids...); err != nil {
		return 0, err
	}
	return len(ids), q.Sync(ctx)
}
