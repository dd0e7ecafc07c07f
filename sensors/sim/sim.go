package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"iotagent/sensors"
)

// device is one simulated sensor.
type device struct {
	cfg    *Config
	opened time.Time
	noise  *rand.Rand
}

var _ sensors.Sensor = (*device)(nil)

// String names the sensor.
func (d *device) String() string { return "sim@" + d.cfg.Wave }

// Halt does nothing.
func (d *device) Halt() error { return nil }

var errSimulated = errors.New("simulated failure")

// Read makes up one value, or does what the configured fault says.
func (d *device) Read(ctx context.Context) ([]sensors.Sample, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	c := d.cfg
	c.count++
	value := c.value(time.Since(d.opened), d.noise)
	if c.FaultEvery > 0 && c.count%c.FaultEvery == 0 {
		switch c.Fault {
		case "error":
			return nil, fmt.Errorf("%s: %w", d, errSimulated)
		case "absent":
			return nil, fmt.Errorf("%s: simulated: %w", d, sensors.ErrAbsent)
		case "hang":
			t := time.NewTimer(c.HangFor.Duration)
			<-t.C // ctx is ignored on purpose, as a driver does whose system call does not return
		case "nan":
			value = math.NaN()
		case "spike":
			value = c.Max + 10*(c.Max-c.Min+1)
		}
	}
	return []sensors.Sample{{Name: c.Measurement, Value: value}}, nil
}

// noise is a source of its own for each Open, so that runs are alike.
func (c *Config) noise() *rand.Rand {
	return rand.New(rand.NewPCG(uint64(c.Seed), 0)) //nolint:gosec // repeatable on purpose, no secret
}

// value is the wave after some time.
func (c *Config) value(since time.Duration, noise *rand.Rand) float64 {
	phase := 0.0
	if c.Period.Duration > 0 {
		phase = float64(since%c.Period.Duration) / float64(c.Period.Duration)
	}
	share := 0.5
	switch c.Wave {
	case "sine":
		share = 0.5 + 0.5*math.Sin(2*math.Pi*phase)
	case "ramp":
		share = phase
	case "noise":
		share = noise.Float64()
	}
	value := c.Min + share*(c.Max-c.Min)
	digits := math.Pow(10, math.Ceil(4-math.Log10(c.Max-c.Min))) // a real chip has no more than about four of its range
	if rounded := math.Round(value*digits) / digits; c.Max > c.Min && rounded >= c.Min && rounded <= c.Max {
		return rounded
	}
	return value
}
