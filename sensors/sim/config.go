// Package sim makes up readings, good and bad, on a machine without sensors: for a first run, for demonstrations and
// for tests of everything behind the sensors.
//
// The value depends on the time since the sensor was opened, the noise on the seed and the number of the reading, and
// faults on the number of the reading alone; so two runs are alike.
//
// # Wiring
//
// None: nothing is connected, which is what it is for.
package sim

import (
	"context"
	_ "embed" // for the sample configuration
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "sim",
		Doc:    "simulated values and faults, needs no hardware",
		Sample: sample,
		New: func() sensors.Config {
			return &Config{
				Measurement: "temperature_celsius", Wave: "sine", Min: 18, Max: 24, Period: quantity.Seconds(300),
				Seed: 1, Fault: "none", FaultEvery: 1, HangFor: quantity.Seconds(60),
			}
		},
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Measurement is the name of the value, its unit included. Default "temperature_celsius".
	Measurement string `toml:"measurement"`
	// Wave is the form: "sine" (default), "ramp" (from min up to max, then again), "noise" (evenly between them), "constant" (their middle).
	Wave string `toml:"wave"`
	// Min and Max bound the value. Default 18 and 24.
	Min float64 `toml:"min"`
	Max float64 `toml:"max"`
	// Period of a sine or ramp. Default 5 min.
	Period quantity.Duration `toml:"period"`
	// Seed of the noise. Default 1.
	Seed int64 `toml:"seed"`
	// Fault is what goes wrong: "none" (default), "error", "hang" (the read ignores its deadline for HangFor), "absent" (the
	// sensor is gone and comes back), "nan" (the driver breaks its contract), "spike" (a value far beyond max).
	Fault string `toml:"fault"`
	// FaultEvery says that each N-th reading goes wrong. Default 1: all of them.
	FaultEvery int `toml:"fault_every"`
	// HangFor is how long a hanging read takes. Default 1 min.
	HangFor quantity.Duration `toml:"hang_for"`

	count int // readings begun, over all Opens; one sampler uses a Config, one read at a time
}

var _ sensors.Config = (*Config)(nil)

func waves() []string  { return []string{"sine", "ramp", "noise", "constant"} }
func faults() []string { return []string{"none", "error", "hang", "absent", "nan", "spike"} }

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	if !regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`).MatchString(c.Measurement) {
		bad("measurement", fmt.Sprintf("want a name in lower case with its unit, such as \"temperature_celsius\", got %q", c.Measurement))
	}
	oneOf := func(key, value string, known []string) {
		if !slices.Contains(known, value) {
			bad(key, fmt.Sprintf("want %s, got %q", strings.Join(known, ", "), value))
		}
	}
	oneOf("wave", c.Wave, waves())
	oneOf("fault", c.Fault, faults())
	const limit = 1e12 // so that no arithmetic overflows, nor does a spike
	if math.IsNaN(c.Min) || math.Abs(c.Min) > limit {
		bad("min", fmt.Sprintf("want a number, got %g", c.Min))
	}
	if math.IsNaN(c.Max) || math.Abs(c.Max) > limit || c.Max < c.Min {
		bad("max", fmt.Sprintf("want a number that is not less than min (%g), got %g", c.Min, c.Max))
	}
	if c.Period.Problem() == "" && c.Period.Duration < time.Millisecond {
		bad("period", fmt.Sprintf("want at least 1ms, got %s", c.Period.Duration))
	}
	if c.FaultEvery < 1 {
		bad("fault_every", fmt.Sprintf("want 1 or more, got %d", c.FaultEvery))
	}
}

// Open returns the simulated sensor; with every reading absent, it is absent.
func (c *Config) Open(ctx context.Context, _ sensors.Hardware) (sensors.Sensor, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	if c.Fault == "absent" && c.FaultEvery <= 1 {
		return nil, fmt.Errorf("sim: simulated: %w", sensors.ErrAbsent)
	}
	return &device{cfg: c, opened: time.Now(), noise: c.noise()}, nil
}
