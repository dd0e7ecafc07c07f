package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"iotagent/bench/payload"
	"iotagent/bench/store"
)

const producers = 256

// latency is how long a durable put of one message takes, from the call to its return.
type latency struct {
	Store     store.Kind `json:"store"`
	Producers int        `json:"producers"`
	P50Millis float64    `json:"p50_ms"`
	P99Millis float64    `json:"p99_ms"`
	PerSecond float64    `json:"per_second"`
}

func (b *speedBench) latencies(ctx context.Context) (all []latency, err error) {
	for _, n := range []int{1, producers} {
		times, took := map[store.Kind][]time.Duration{}, map[store.Kind]time.Duration{}
		for round := range rounds {
			progress("durable puts, %d producers, round %d of %d", n, round+1, rounds)
			for _, st := range store.Kinds() {
				err := b.with(ctx, st, func(_ string, s store.Store) error {
					start := time.Now()
					ts, err := b.produce(ctx, s, n)
					took[st] += time.Since(start)
					times[st] = append(times[st], ts...)
					return err
				})
				if err != nil {
					return nil, err
				}
			}
		}
		for _, st := range store.Kinds() {
			ts := times[st]
			slices.Sort(ts)
			all = append(all, latency{
				Store: st, Producers: n, P50Millis: millis(ts[len(ts)/2]), P99Millis: millis(ts[len(ts)*99/100]),
				PerSecond: float64(len(ts)) / took[st].Seconds(),
			})
		}
	}
	return all, nil
}

// produce lets n producers put one message after the other for a slot, and returns how long each put took.
func (b *speedBench) produce(ctx context.Context, s store.Store, n int) ([]time.Duration, error) {
	pool, group, start := b.pool[payload.Readings], store.NewGroup(s), time.Now()
	times, errs := make([][]time.Duration, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for k := i; time.Since(start) < slot && errs[i] == nil; k += n {
				before := time.Now()
				errs[i] = group.Put(ctx, pool[k%len(pool)])
				times[i] = append(times[i], time.Since(before))
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(times...), nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
