package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"iotagent/bench/device"
	"iotagent/bench/payload"
	"iotagent/outbox"
)

// online is what is written while the hub accepts every message within milliseconds: nothing, it should be.
type online struct {
	Messages int           `json:"messages"`
	Window   time.Duration `json:"window_ns"`
	// Idle is what the device took in as long a time with nothing to do, Busy with the messages.
	IdleBytes int64 `json:"idle_bytes"`
	BusyBytes int64 `json:"busy_bytes"`
	// Commits is how many the outbox itself counted meanwhile.
	Commits uint64 `json:"commits"`
}

const (
	onlineWindow = 40 * time.Second // the outbox's own second of acks and the kernel's timers pass several times
	onlinePause  = 10 * time.Millisecond
)

func measureOnline(ctx context.Context, v *device.Volume) (o online, err error) {
	q, err := outbox.Open(filepath.Join(v.Dir, "outbox"), &outbox.Options{MaxLoss: 10 * time.Second})
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	relay := &relay{q: q, maker: payload.New(payload.Readings, time.Now())}
	// The start may write: what an outbox notes about itself once it has taken its first messages.
	if _, err := relay.run(ctx, time.Second); err != nil {
		return o, err
	}
	if err := q.Sync(ctx); err != nil {
		return o, err
	}
	start, err := written(v)
	if err != nil {
		return o, err
	}
	select {
	case <-time.After(onlineWindow):
	case <-ctx.Done():
		return o, context.Cause(ctx)
	}
	idle, err := written(v)
	if err != nil {
		return o, err
	}
	commits := q.Stats().Commits
	if o.Messages, err = relay.run(ctx, onlineWindow); err != nil {
		return o, err
	}
	busy, err := written(v)
	o.Window, o.IdleBytes, o.BusyBytes, o.Commits = onlineWindow, idle-start, busy-idle, q.Stats().Commits-commits
	return o, err
}

// relay puts a message and acks it some milliseconds later, over and over.
type relay struct {
	q     *outbox.Outbox
	maker *payload.Maker
	n     int
}

func (r *relay) run(ctx context.Context, d time.Duration) (n int, err error) {
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		body, _ := r.maker.Next()
		if _, err := r.q.Put(ctx, outbox.Message{Lane: laneOf(r.n), Readings: 1, Body: body}); err != nil {
			return n, err
		}
		r.n++
		select {
		case <-time.After(onlinePause):
		case <-ctx.Done():
			return n, context.Cause(ctx)
		}
		es, err := r.q.Next(1, 1<<20)
		if err != nil || len(es) != 1 {
			return n, errors.Join(err, fmt.Errorf("outbox: %d messages handed out, not 1", len(es)))
		}
		if err := r.q.Ack(es[0].ID); err != nil {
			return n, err
		}
	}
	return n, nil
}
