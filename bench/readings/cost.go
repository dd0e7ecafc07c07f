package main

import (
	"context"
	"runtime"
	"time"

	"iotagent/agent"
	"iotagent/bench/device"
	"iotagent/internal/clock"
	"iotagent/internal/quantity"
	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
	"iotagent/sensors"
)

// cost is what one reading takes on the way to a place.
type cost struct {
	What   string  `json:"what"`
	Nanos  float64 `json:"cpu_ns"`
	Allocs float64 `json:"allocations"`
	Bytes  float64 `json:"bytes"`
}

// instant is a sensor whose value is there at once: what is measured with it is ours alone.
type instant struct {
	samples [1]sensors.Sample
	after   func() // is called at each reading, unless it is nil
}

func (s *instant) Validate(func(key, msg string)) {}

func (s *instant) Open(context.Context, sensors.Hardware) (sensors.Sensor, error) { return s, nil }

func (s *instant) Read(context.Context) ([]sensors.Sample, error) {
	s.samples[0].Value += 0.0625
	if s.samples[0].Value > 30 {
		s.samples[0].Value = 20
	}
	if s.after != nil {
		s.after()
	}
	return []sensors.Sample{s.samples[0]}, nil
}

func (s *instant) Halt() error { return nil }

func (s *instant) String() string { return "instant" }

func newInstant() *instant {
	return &instant{samples: [1]sensors.Sample{{Name: "temperature_celsius", Value: 20}}}
}

// costs measures each step of the way with n readings.
func costs(ctx context.Context, n int) ([]cost, error) {
	progress("costs")
	steps := []struct {
		what string
		run  func(ctx context.Context, n int) error
	}{
		{"one transaction with a simulated chip", bare},
		{"one transaction through the owner of the bus", owned},
		{"a reading of a sensor that costs nothing, through its sampler", sampled},
		{"the same with calibration, limits and an alarm, a deadband and tags", judged},
		{"the same, put together over windows of 60", windowed},
		{"a reading packed into messages as JSON, into an outbox in memory", packed(agent.FormatJSON)},
		{"the same in SenML", packed(agent.FormatSenML)},
	}
	var got []cost
	for _, s := range steps {
		if err := s.run(ctx, n/10); err != nil { // warm
			return nil, err
		}
		c, err := costOf(func() error { return s.run(ctx, n) }, n)
		if err != nil {
			return nil, err
		}
		c.What = s.what
		got = append(got, c)
	}
	return got, nil
}

func costOf(f func() error, n int) (c cost, err error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start, err := device.CPU()
	if err != nil {
		return c, err
	}
	if err := f(); err != nil {
		return c, err
	}
	end, err := device.CPU()
	if err != nil {
		return c, err
	}
	runtime.ReadMemStats(&after)
	each := 1 / float64(n)
	return cost{
		Nanos: float64(end-start) * each, Allocs: float64(after.Mallocs-before.Mallocs) * each, Bytes: float64(after.TotalAlloc-before.TotalAlloc) * each,
	}, nil
}

func bare(_ context.Context, n int) error {
	a, err := newAdapter()
	if err != nil {
		return err
	}
	var r [8]byte
	for range n {
		if err := a.Tx(0x76, []byte{0xf7}, r[:]); err != nil {
			return err
		}
	}
	return nil
}

func owned(ctx context.Context, n int) error {
	hw := board()
	dev, err := sensors.OpenI2C(hw, "1", 0x76)
	if err != nil {
		return err
	}
	var r [8]byte
	for range n {
		if err := dev.Tx(ctx, []byte{0xf7}, r[:]); err != nil {
			return err
		}
	}
	return hw.Close()
}

// sample runs a sampler as fast as it can until it has given n readings.
func sample(ctx context.Context, n int, emit func(sensors.Reading)) error {
	return sampleAs(ctx, &sensors.Sampling{}, n, emit)
}

func sampleAs(ctx context.Context, as *sensors.Sampling, n int, emit func(sensors.Reading)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := sensors.NewSampler(sensors.Common{Name: "boiler", Interval: quantity.Duration{Duration: 1}, Timeout: quantity.Seconds(5), Sampling: *as}, newInstant(), nil, nil)
	return s.Run(ctx, func(r sensors.Reading) {
		if n--; n >= 0 {
			emit(r)
		}
		if n == 0 {
			cancel()
		}
	})
}

func sampled(ctx context.Context, n int) error { return sample(ctx, n, func(sensors.Reading) {}) }

// judged counts what is emitted; nothing is left out, because the value changes by more than the band each time.
func judged(ctx context.Context, n int) error {
	const name = "temperature_celsius"
	scale, low, high, alarm := 1.01, -40.0, 125.0, 80.0
	return sampleAs(ctx, &sensors.Sampling{
		Calibration: []sensors.Calibration{{Sample: name, Scale: &scale, Offset: -0.4}},
		Limits:      []sensors.Limit{{Sample: name, Min: &low, Max: &high, AlarmAbove: &alarm, Hysteresis: 2}},
		Deadband:    []sensors.Band{{Sample: name, Absolute: 0.01}},
		Tags:        map[string]string{"site": "north"},
	}, n, func(sensors.Reading) {})
}

// windowed takes n readings, of which a sixtieth is emitted.
func windowed(ctx context.Context, n int) error {
	as := &sensors.Sampling{Window: quantity.Duration{Duration: 60}}
	cfg := newInstant()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg.after = func() {
		if n--; n == 0 {
			cancel()
		}
	}
	s := sensors.NewSampler(sensors.Common{Name: "boiler", Interval: quantity.Duration{Duration: 1}, Timeout: quantity.Seconds(5), Sampling: *as}, cfg, nil, nil)
	return s.Run(ctx, func(sensors.Reading) {})
}

// source is a sampler for an agent that ends after n readings.
type source struct {
	*sensors.Sampler
	n    int
	done func()
}

func (s *source) Run(ctx context.Context, emit func(sensors.Reading)) error {
	return sample(ctx, s.n, func(r sensors.Reading) {
		emit(r)
		if s.n--; s.n == 0 {
			s.done()
		}
	})
}

func packed(f agent.Format) func(ctx context.Context, n int) error {
	return func(ctx context.Context, n int) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		q := outboxtest.NewMemory(1)
		a := agent.New(&agent.Options{
			Queue: q, Dial: away, Clock: clock.New(nil), Drain: time.Millisecond,
			Pack:    agent.PackOptions{MaxLoss: 10 * time.Second, Format: f},
			Sources: []agent.Source{{Sampler: &source{sensors.NewSampler(sensors.Common{Name: "boiler"}, newInstant(), nil, nil), n, cancel}, Lane: outbox.Normal}},
		})
		return a.Run(ctx)
	}
}
