package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"iotagent/bench/payload"
	"iotagent/bench/report"
	"iotagent/bench/store"
)

const turns = 30 // puts and takes of a batch at each depth

// depth is what a message costs with so many queued: medians of commits of a thousand.
type depth struct {
	Store       store.Kind `json:"store"`
	Queued      int        `json:"queued"`
	PutMicros   float64    `json:"put_us"`
	DrainMicros float64    `json:"drain_us"`
	CPUMicros   float64    `json:"cpu_us"` // put and drain together
}

// depths fills one store, and stops at each depth to measure; at the first and the last it looks at memory, too.
func (b *speedBench) depths(ctx context.Context, kind store.Kind) (ds []depth, ms []memory, err error) {
	dir := filepath.Join(b.volume.Dir, "depth-"+string(kind))
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	have := 0
	for i, n := range b.queued {
		progress("%s with %s queued", kind, report.Count(int64(n)))
		d, err := b.depth(ctx, kind, dir, n-have, n)
		if err != nil {
			return nil, nil, err
		}
		ds, have = append(ds, d), n
		if i == 0 || i == len(b.queued)-1 {
			m, err := b.memory(ctx, kind, dir, n)
			if err != nil {
				return nil, nil, err
			}
			ms, have = append(ms, m), n-m.Drained
		}
	}
	return ds, ms, nil
}

func (b *speedBench) depth(ctx context.Context, kind store.Kind, dir string, add, n int) (d depth, err error) {
	s, err := store.Open(ctx, kind, dir, b.queued[len(b.queued)-1])
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := b.fill(ctx, s, payload.Readings, add); err != nil {
		return d, err
	}
	next := b.bodies(payload.Readings, batch)
	var puts, drains []float64
	r, err := b.measure(0, func() (int, error) { // one step of 30 turns, so that processor time is about them alone
		return turns / 3 * batch, turn(turns/3, func() error {
			start := time.Now()
			if err := s.Put(ctx, next()); err != nil {
				return err
			}
			put := time.Now()
			k, err := s.Take(ctx, batch)
			if err == nil && k != batch {
				err = errors.New(string(kind) + ": fewer messages than were put")
			}
			puts = append(puts, float64(put.Sub(start).Microseconds())/batch)
			drains = append(drains, float64(time.Since(put).Microseconds())/batch)
			return err
		})
	})
	return depth{Store: kind, Queued: n, PutMicros: median(puts), DrainMicros: median(drains), CPUMicros: r.CPUMicros}, err
}

func turn(n int, fn func() error) error {
	for range n {
		if err := fn(); err != nil {
			return err
		}
	}
	return nil
}
