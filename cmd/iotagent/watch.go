package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"iotagent/config"
	"iotagent/internal/cli"
	"iotagent/internal/quantity"
	"iotagent/sensors"
)

// watch reads the sensors at their intervals, keeping them open between, and prints a line for each reading until ctx is done. Being
// interrupted is how it ends; it fails when a sensor cannot be halted or nobody takes the lines.
func watch(ctx context.Context, std cli.IO, chosen []config.Sensor, hw sensors.Hardware, asJSON bool) error {
	if len(chosen) == 0 {
		return printReadings(std.Out, nil, asJSON)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p := &linePrinter{w: std.Out, asJSON: asJSON, stop: stop}
	errs := make([]error, len(chosen))
	var wg sync.WaitGroup
	for i, s := range chosen {
		wg.Go(func() {
			sampler := sensors.NewSampler(asTaken(s.Common), s.Config, hw, nil)
			errs[i] = sampler.Run(ctx, func(r sensors.Reading) {
				st := sampler.Status()
				p.print(newTaken(s, st.Device, r, st.Latency))
			})
		})
	}
	wg.Wait()
	return errors.Join(append(errs, p.err)...)
}

// asTaken leaves out what puts readings off, together or aside: a person wants to see each.
func asTaken(c sensors.Common) sensors.Common {
	c.Align, c.Offset, c.Jitter = false, quantity.Duration{}, quantity.Duration{}
	c.Window, c.Aggregate, c.Deadband, c.Heartbeat = quantity.Duration{}, nil, nil, quantity.Duration{}
	return c
}

// linePrinter prints readings of several goroutines, until that fails.
type linePrinter struct {
	asJSON bool
	stop   func()

	mu  sync.Mutex
	w   io.Writer
	err error
}

func (p *linePrinter) print(t taken) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return
	}
	if p.asJSON {
		p.err = json.NewEncoder(p.w).Encode(t)
	} else {
		_, p.err = fmt.Fprintln(p.w, t.line())
	}
	if p.err != nil {
		p.stop()
	}
}
