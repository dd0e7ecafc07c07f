package main

import (
	"context"

	"iotagent/bench/payload"
	"iotagent/bench/store"
)

// throughput is how fast one store takes and gives back messages of one kind.
type throughput struct {
	Store   store.Kind   `json:"store"`
	Payload payload.Kind `json:"payload"`
	// Put is by messages in a commit.
	Put   map[int]rate `json:"put"`
	Drain rate         `json:"drain"`
}

func batches(kind payload.Kind) []int {
	if kind == payload.Random {
		return []int{batch}
	}
	return []int{1, 100, batch}
}

func (b *speedBench) throughputs(ctx context.Context) (all []throughput, err error) {
	for _, kind := range []payload.Kind{payload.Readings, payload.Random} {
		put := map[store.Kind]map[int][]rate{}
		drain := map[store.Kind][]rate{}
		for round := range rounds {
			progress("puts and drain, %s, round %d of %d", kind, round+1, rounds)
			for _, st := range store.Kinds() {
				if put[st] == nil {
					put[st] = map[int][]rate{}
				}
				d, err := b.putAndDrain(ctx, st, kind, put[st])
				if err != nil {
					return nil, err
				}
				drain[st] = append(drain[st], d)
			}
		}
		for _, st := range store.Kinds() {
			t := throughput{Store: st, Payload: kind, Put: map[int]rate{}, Drain: medianRate(drain[st])}
			for n, rs := range put[st] {
				t.Put[n] = medianRate(rs)
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// putAndDrain measures puts of each size on a new store, then the drain of what they left.
func (b *speedBench) putAndDrain(ctx context.Context, st store.Kind, kind payload.Kind, put map[int][]rate) (drain rate, err error) {
	err = b.with(ctx, st, func(_ string, s store.Store) error {
		for _, n := range batches(kind) {
			next := b.bodies(kind, n)
			r, err := b.measure(slot, func() (int, error) { return n, s.Put(ctx, next()) })
			if err != nil {
				return err
			}
			put[n] = append(put[n], r)
		}
		if err := b.fill(ctx, s, kind, 100_000); err != nil {
			return err
		}
		drain, err = b.measure(slot, func() (int, error) { return s.Take(ctx, batch) })
		return err
	})
	return drain, err
}

// bodies returns a function that returns the next n bodies of the pool.
func (b *speedBench) bodies(kind payload.Kind, n int) func() [][]byte {
	pool, at := b.pool[kind], 0
	return func() [][]byte {
		if at+n > len(pool) {
			at = 0
		}
		at += n
		return pool[at-n : at]
	}
}

func (b *speedBench) fill(ctx context.Context, s store.Store, kind payload.Kind, n int) error {
	next := b.bodies(kind, batch)
	for ; n > 0; n -= batch {
		if err := s.Put(ctx, next()[:min(n, batch)]); err != nil {
			return err
		}
	}
	return nil
}
