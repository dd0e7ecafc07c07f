package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"iotagent/agent"
	"iotagent/bench/device"
	"iotagent/iothub"
	"iotagent/outbox"
	"iotagent/sensors"
)

// mark is the memory after so many readings.
type mark struct {
	Readings int64         `json:"readings"`
	Memory   device.Memory `json:"memory"`
	// Heap is what is reachable, Routines how many goroutines there are.
	Heap     uint64 `json:"heap"`
	Routines int    `json:"goroutines"`
}

func flat(ctx context.Context, millions int) ([]mark, error) {
	progress("memory over %d million readings", millions)
	var marks []mark
	err := child(ctx, &marks, "flat", "-millions", strconv.Itoa(millions))
	return marks, err
}

var errAway = errors.New("the hub is away")

func away(context.Context) (*iothub.Client, error) { return nil, errAway }

// flatCommand lets fifty samplers work without a pause, into a small outbox whose quota forces the oldest out: everything that a reading meets but the hub.
func flatCommand(ctx context.Context, args []string) (err error) {
	f := flag.NewFlagSet("flat", flag.ContinueOnError)
	millions := f.Int64("millions", 10, "readings")
	if err := f.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "iotagent-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	q, err := outbox.Open(dir, &outbox.Options{MaxBytes: 16 << 20, MinFree: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &watch{every: max(*millions*100_000, 1), last: *millions * 1_000_000, cancel: cancel}
	o := &agent.Options{Queue: q, Dial: away, Drain: time.Millisecond, Pack: agent.PackOptions{MaxLoss: 10 * time.Second}}
	for range loadSensors {
		o.Sources = append(o.Sources, agent.Source{Sampler: &watched{sensors.NewSampler(sensors.Common{Name: "boiler"}, newInstant(), nil, nil), w}, Lane: outbox.Normal})
	}
	err = agent.New(o).Run(ctx)
	return errors.Join(err, w.err, say(w.marks))
}

// watch counts the readings of all samplers, and looks at the memory now and then.
type watch struct {
	n           atomic.Int64
	every, last int64
	cancel      func()

	mu    sync.Mutex
	marks []mark
	err   error
}

func (w *watch) count() {
	n := w.n.Add(1)
	if n%w.every == 0 && n <= w.last {
		w.mu.Lock()
		defer w.mu.Unlock()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		resident, err := device.Resident()
		w.err = errors.Join(w.err, err)
		w.marks = append(w.marks, mark{Readings: n, Memory: resident, Heap: m.HeapAlloc, Routines: runtime.NumGoroutine()})
	}
	if n == w.last {
		w.cancel()
	}
}

type watched struct {
	*sensors.Sampler
	w *watch
}

func (s *watched) Run(ctx context.Context, emit func(sensors.Reading)) error {
	return sample(ctx, int(s.w.last), func(r sensors.Reading) {
		emit(r)
		s.w.count()
	})
}
