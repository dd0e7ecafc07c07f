package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"time"

	"iotagent/bench/device"
	"iotagent/bench/payload"
	"iotagent/bench/report"
)

// flashFigures is what `flash` finds out.
type flashFigures struct {
	Time    time.Time     `json:"time"`
	Machine string        `json:"machine"`
	Device  string        `json:"device_bytes"`
	Span    time.Duration `json:"span_ns"`
	Away    []away        `json:"away"`
	Control []away        `json:"control"`
	Online  online        `json:"online"`
}

// atOnce is how many volumes are written at a time: their counters do not see each other, and most of the time is pauses.
const atOnce = 6

func flashCommand(ctx context.Context, args []string) error {
	var out output
	f := flag.NewFlagSet("flash", flag.ContinueOnError)
	span := f.Duration("span", time.Hour, "how long the hub is away, in simulated time")
	control := f.Duration("control", 3*time.Minute, "how long the control in real time takes")
	out.flags(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	b := &flashBench{figures: flashFigures{Time: time.Now().UTC().Truncate(time.Second), Machine: report.Machine(), Span: *span}}
	var err error
	if b.dir, err = out.scratch(); err != nil {
		return err
	}
	if err := b.run(ctx, *control); err != nil {
		return fmt.Errorf("flash: %w", err)
	}
	return out.write("flash", b.figures, flashText(&b.figures))
}

type flashBench struct {
	dir string

	mu      sync.Mutex
	figures flashFigures
	failed  []error
}

// run does everything on volumes of their own, several at a time, the longest first.
func (b *flashBench) run(ctx context.Context, control time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	start := func(name string, fn func(context.Context, *device.Volume) error) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			if err := b.onVolume(ctx, name, fn); err != nil {
				cancel() // the first failure ends all
				b.mu.Lock()
				b.failed = append(b.failed, err)
				b.mu.Unlock()
			}
		})
	}
	start("control-real", func(ctx context.Context, v *device.Volume) error {
		return b.away(ctx, v, scenario{store: outboxFlash, payload: payload.Readings, interval: 10 * time.Second, span: control, real: true})
	})
	start("online", func(ctx context.Context, v *device.Volume) error {
		o, err := measureOnline(ctx, v)
		b.figures.Online = o
		return err
	})
	for i, s := range scenarios(b.figures.Span, control) {
		start(fmt.Sprintf("away-%d", i), func(ctx context.Context, v *device.Volume) error { return b.away(ctx, v, s) })
	}
	wg.Wait()
	slices.SortFunc(b.figures.Away, func(x, y away) int {
		return cmp.Or(cmp.Compare(x.Payload, y.Payload), cmp.Compare(x.Interval, y.Interval), cmp.Compare(order(x.Store), order(y.Store)))
	})
	slices.SortFunc(b.figures.Control, func(x, y away) int { return cmp.Compare(btoi(y.Real), btoi(x.Real)) })
	return errors.Join(b.failed...)
}

func order(name string) int { return slices.Index([]string{outboxFlash, logPacked, logRaw}, name) }

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (b *flashBench) onVolume(ctx context.Context, name string, fn func(context.Context, *device.Volume) error) (err error) {
	v, err := device.Loop(ctx, b.dir, "flash-"+name, 1<<30, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	b.mu.Lock()
	b.figures.Device = v.Source
	b.mu.Unlock()
	if err := fn(ctx, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// scenarios are all with the hub away in compressed time: those with most commits first, and the pair of the control.
func scenarios(span, control time.Duration) []scenario {
	var all []scenario
	for _, interval := range intervals() {
		for _, kind := range []payload.Kind{payload.Readings, payload.Random} {
			all = append(all, scenario{store: outboxFlash, payload: kind, interval: interval, span: span})
			all = append(all, scenario{store: logPacked, payload: kind, interval: interval, span: span})
		}
		all = append(all, scenario{store: logRaw, payload: payload.Readings, interval: interval, span: span})
	}
	return append(all, scenario{store: outboxFlash, payload: payload.Readings, interval: 10 * time.Second, span: control, control: true})
}

func intervals() []time.Duration { return []time.Duration{time.Second, 10 * time.Second, time.Minute} }

func (b *flashBench) away(ctx context.Context, v *device.Volume, s scenario) error {
	a, err := measureAway(ctx, v, s)
	if err != nil {
		return err
	}
	progress("%s", a)
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.real || s.control {
		b.figures.Control = append(b.figures.Control, a)
	} else {
		b.figures.Away = append(b.figures.Away, a)
	}
	return nil
}
