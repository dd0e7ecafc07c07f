package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"iotagent/bench/device"
	"iotagent/internal/quantity"
	"iotagent/sensors"
)

const (
	loadSensors  = 50
	loadInterval = 100 * time.Millisecond
)

// load is what fifty sensors at ten readings a second take.
type load struct {
	What string `json:"what"`
	// Share of one core; Readings is how many there were in Seconds.
	Share    float64 `json:"share"`
	Readings int64   `json:"readings"`
	Seconds  float64 `json:"seconds"`
	RSS      int64   `json:"rss"`
}

// The loads that are processes of this program.
const (
	loadBare    = "the bus transactions alone, from fifty loops"
	loadSampled = "fifty BME280 through their drivers, buses and samplers"
	loadDaemon  = "iotagent with fifty simulated sensors, sending to a hub"
)

func loads(ctx context.Context, d time.Duration, agent, hub string) ([]load, error) {
	var got []load
	for _, what := range []string{loadBare, loadSampled} {
		progress("%s, %v", what, d)
		var l load
		if err := child(ctx, &l, "load", "-what", what, "-for", d.String()); err != nil {
			return nil, err
		}
		got = append(got, l)
	}
	if agent == "" || hub == "" {
		return got, nil
	}
	progress("%s, %v", loadDaemon, d)
	l, err := daemonLoad(ctx, d, agent, hub)
	return append(got, l), err
}

// child runs this program again, and decodes the last line that it prints.
func child(ctx context.Context, v any, args ...string) error {
	name, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // itself
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		err = errors.Join(err, json.Unmarshal(lines.Bytes(), v))
	}
	return errors.Join(err, cmd.Wait())
}

func loadCommand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	what, d := f.String("what", "", "which"), f.Duration("for", 10*time.Second, "how long")
	if err := f.Parse(args); err != nil {
		return err
	}
	start := sampledLoad
	if *what == loadBare {
		start = bareLoad
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var readings atomic.Int64
	wait, err := start(ctx, &readings)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // opening is over
	l, err := measure(*what, *d, &readings)
	cancel()
	return errors.Join(err, wait(), say(l))
}

func measure(what string, d time.Duration, readings *atomic.Int64) (load, error) {
	before, err := device.CPU()
	if err != nil {
		return load{}, err
	}
	start, n := time.Now(), readings.Load()
	time.Sleep(d)
	after, err := device.CPU()
	if err != nil {
		return load{}, err
	}
	took := time.Since(start)
	m, err := device.Resident()
	return load{What: what, Share: float64(after-before) / float64(took), Readings: readings.Load() - n, Seconds: took.Seconds(), RSS: m.RSS}, err
}

// bareLoad makes the transactions that a reading of a BME280 consists of, and waits as long.
func bareLoad(ctx context.Context, readings *atomic.Int64) (wait func() error, err error) {
	var wg sync.WaitGroup
	for range loadSensors {
		a, err := newAdapter()
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			tick := time.NewTicker(loadInterval)
			defer tick.Stop()
			for ctx.Err() == nil {
				var r [8]byte
				_ = a.Tx(0x76, []byte{0xf2}, r[:4])
				_ = a.Tx(0x76, []byte{0xf2, 1, 0xf4, 0x25}, nil)
				time.Sleep(9300 * time.Microsecond)
				_ = a.Tx(0x76, []byte{0xf3}, r[:1])
				_ = a.Tx(0x76, []byte{0xf7}, r[:8])
				readings.Add(1)
				<-tick.C
			}
		})
	}
	return func() error { wg.Wait(); return nil }, nil
}

func sampledLoad(ctx context.Context, readings *atomic.Int64) (wait func() error, err error) {
	hw := board()
	var wg sync.WaitGroup
	errs := make([]error, loadSensors)
	for i := range loadSensors {
		cfg, err := bme280Config(i)
		if err != nil {
			return nil, err
		}
		s := sensors.NewSampler(sensors.Common{Name: fmt.Sprint("s", i), Interval: quantity.Duration{Duration: loadInterval}}, cfg, hw, nil)
		wg.Go(func() {
			errs[i] = s.Run(ctx, func(r sensors.Reading) {
				if r.Quality == sensors.Good {
					readings.Add(1)
				}
			})
		})
	}
	return func() error {
		wg.Wait()
		return errors.Join(errors.Join(errs...), hw.Close())
	}, nil
}
