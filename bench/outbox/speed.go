package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"time"

	"iotagent/bench/device"
	"iotagent/bench/payload"
	"iotagent/bench/report"
	"iotagent/bench/store"
)

const (
	slot     = 300 * time.Millisecond // of one measurement
	rounds   = 5                      // each measurement is the median of so many, the stores taking turns
	batch    = 1000                   // messages in a commit, where nothing else is said
	poolSize = 50_000                 // bodies, used over and over
)

// speedFigures is what `speed` finds out.
type speedFigures struct {
	Time       time.Time    `json:"time"`
	Machine    string       `json:"machine"`
	Device     string       `json:"device_bytes"`
	BodyBytes  float64      `json:"body_bytes"`
	Throughput []throughput `json:"throughput"`
	Latency    []latency    `json:"latency"`
	Depth      []depth      `json:"depth"`
	Memory     []memory     `json:"memory"`
}

// speedBench is one run of `speed`.
type speedBench struct {
	volume *device.Volume
	queued []int // depths to measure at, rising
	pool   map[payload.Kind][][]byte
	dirs   int
}

func speedCommand(ctx context.Context, args []string) (err error) {
	var out output
	f := flag.NewFlagSet("speed", flag.ContinueOnError)
	queued := f.Int("queued", 1_000_000, "the most messages to queue")
	out.flags(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	b := &speedBench{queued: depths(*queued), pool: map[payload.Kind][][]byte{
		payload.Readings: payload.Pool(payload.Readings, poolSize), payload.Random: payload.Pool(payload.Random, poolSize),
	}}
	if b.volume, err = speedVolume(ctx, &out, *queued); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.volume.Close()) }()
	figures, err := b.run(ctx)
	if err != nil {
		return err
	}
	return out.write("speed", figures, speedText(figures))
}

// depths are 1 000, 100 000, 1 000 000 and so on up to n.
func depths(n int) []int {
	ds := []int{1000}
	for d := 100_000; d < n; d *= 10 {
		ds = append(ds, d)
	}
	if n > 1000 {
		ds = append(ds, n)
	}
	return ds
}

// speedVolume is a loop device with room for n messages in the largest of the stores or, without root, a plain directory.
func speedVolume(ctx context.Context, out *output, n int) (*device.Volume, error) {
	dir, err := out.scratch()
	if err != nil {
		return nil, err
	}
	v, err := device.Loop(ctx, dir, "speed", 3<<30+int64(n)*600, 1<<30)
	if err == nil {
		return v, nil
	}
	progress("in a plain directory: %v", err)
	return device.Plain(filepath.Join(dir, "speed"))
}

func (b *speedBench) run(ctx context.Context) (*speedFigures, error) {
	bytes := 0
	for _, body := range b.pool[payload.Readings] {
		bytes += len(body)
	}
	fig := &speedFigures{
		Time: time.Now().UTC().Truncate(time.Second), Machine: report.Machine(), Device: b.volume.Source, BodyBytes: float64(bytes) / poolSize,
	}
	var err error
	if fig.Throughput, err = b.throughputs(ctx); err != nil {
		return nil, err
	}
	if fig.Latency, err = b.latencies(ctx); err != nil {
		return nil, err
	}
	for _, kind := range store.Kinds() {
		ds, ms, err := b.depths(ctx, kind)
		if err != nil {
			return nil, err
		}
		fig.Depth, fig.Memory = append(fig.Depth, ds...), append(fig.Memory, ms...)
	}
	return fig, nil
}

// with opens a new store of a kind, calls fn and removes it.
func (b *speedBench) with(ctx context.Context, kind store.Kind, fn func(dir string, s store.Store) error) (err error) {
	b.dirs++
	dir := filepath.Join(b.volume.Dir, string(kind)+"-"+report.Count(int64(b.dirs)))
	s, err := store.Open(ctx, kind, dir, b.queued[len(b.queued)-1])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return errors.Join(fn(dir, s), s.Close())
}

// rate is what one kind of work costs: messages a second, processor and device for each message.
type rate struct {
	PerSecond   float64 `json:"per_second"`
	CPUMicros   float64 `json:"cpu_us"`
	DeviceBytes float64 `json:"device_bytes"`
}

// measure calls step until a slot is over (or it returns 0 messages), and at least three times.
func (b *speedBench) measure(slot time.Duration, step func() (int, error)) (r rate, err error) {
	if err := b.volume.SyncFS(); err != nil {
		return r, err
	}
	bytes, err := b.volume.WrittenBytes()
	if err != nil {
		return r, err
	}
	cpu, err := device.CPU()
	if err != nil {
		return r, err
	}
	start, n := time.Now(), 0
	for i := 0; i < 3 || time.Since(start) < slot; i++ {
		k, err := step()
		if err != nil {
			return r, err
		}
		if n += k; k == 0 {
			break
		}
	}
	took := time.Since(start)
	cpuAfter, err := device.CPU()
	if err != nil {
		return r, err
	}
	if err := b.volume.SyncFS(); err != nil {
		return r, err
	}
	bytesAfter, err := b.volume.WrittenBytes()
	if err != nil || n == 0 {
		return r, errors.Join(err, errors.New("nothing to measure"))
	}
	per := 1 / float64(n)
	return rate{
		PerSecond: float64(n) / took.Seconds(), CPUMicros: float64((cpuAfter - cpu).Microseconds()) * per,
		DeviceBytes: float64(bytesAfter-bytes) * per,
	}, nil
}

// medianRate takes the median of each field.
func medianRate(rs []rate) rate {
	field := func(get func(rate) float64) float64 {
		vs := make([]float64, len(rs))
		for i, r := range rs {
			vs[i] = get(r)
		}
		return median(vs)
	}
	return rate{
		PerSecond:   field(func(r rate) float64 { return r.PerSecond }),
		CPUMicros:   field(func(r rate) float64 { return r.CPUMicros }),
		DeviceBytes: field(func(r rate) float64 { return r.DeviceBytes }),
	}
}

func median(vs []float64) float64 {
	slices.Sort(vs)
	return vs[len(vs)/2]
}
