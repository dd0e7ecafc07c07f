package sim

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"iotagent/internal/quantity"
	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

func machine(t *testing.T) sensors.Hardware { return sensortest.Tree(t, nil) }

func TestContract(t *testing.T) {
	for _, wave := range waves() {
		t.Run(wave, func(t *testing.T) {
			sensortest.Run(t, sensortest.Case{
				Driver:    Driver(),
				Hardware:  machine,
				Configure: func(c sensors.Config) { c.(*Config).Wave = wave },
				Faults: []sensortest.Fault{
					{Name: "error", Hardware: machine, Configure: func(c sensors.Config) { c.(*Config).Fault = "error" }, Want: errSimulated},
					{Name: "absent", Hardware: machine, Configure: func(c sensors.Config) { c.(*Config).Fault = "absent" }, Want: sensors.ErrAbsent},
				},
			})
		})
	}
}

// read takes n readings a second apart.
func read(t *testing.T, c *Config, n int) (values []float64, errs []error) {
	t.Helper()
	s, err := c.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		samples, err := s.Read(t.Context())
		if err != nil {
			samples = []sensors.Sample{{Value: -1}}
		}
		values, errs = append(values, samples[0].Value), append(errs, err)
		time.Sleep(time.Second)
	}
	return values, errs
}

func TestWaves(t *testing.T) {
	tests := map[string][]float64{
		"sine":     {15, 20, 15, 10, 15},
		"ramp":     {10, 12.5, 15, 17.5, 10},
		"constant": {15, 15, 15, 15, 15},
	}
	for wave, want := range tests {
		synctest.Test(t, func(t *testing.T) {
			c := Driver().New().(*Config)
			c.Wave, c.Min, c.Max, c.Period = wave, 10, 20, quantity.Seconds(4)
			got, _ := read(t, c, 5)
			if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", wave, diff)
			}
		})
	}
}

// Values have no more digits than a chip's, whatever the range, and stay in it.
func TestDigits(t *testing.T) {
	tests := []struct{ lowest, highest, want float64 }{
		{18, 24.1200012345, 21.06},
		{0, 246.913578, 123.46},
		{0, 2.46913578e6, 1234600},
		{0, 0.000246913578, 0.00012346},
		{5.12345678, 5.12345678, 5.12345678},
	}
	for _, tt := range tests {
		c := &Config{Wave: "constant", Min: tt.lowest, Max: tt.highest}
		if got := c.value(0, nil); got != tt.want {
			t.Errorf("the middle of %v and %v: got %v, want %v", tt.lowest, tt.highest, got, tt.want)
		}
	}
}

func TestNoiseFollowsItsSeed(t *testing.T) {
	noise := func(seed int64) (values []float64) {
		synctest.Test(t, func(t *testing.T) {
			c := Driver().New().(*Config)
			c.Wave, c.Seed = "noise", seed
			values, _ = read(t, c, 20)
			for _, v := range values {
				if v < c.Min || v > c.Max {
					t.Errorf("%g is not between %g and %g", v, c.Min, c.Max)
				}
			}
		})
		return values
	}
	if a, b := noise(7), noise(7); !cmp.Equal(a, b) {
		t.Errorf("the same seed gave %v and %v", a, b)
	}
	if a, b := noise(7), noise(8); cmp.Equal(a, b) {
		t.Errorf("two seeds gave %v", a)
	}
}

func TestFaults(t *testing.T) {
	tests := map[string]struct {
		is   error
		ok   func(v float64) bool
		took time.Duration
	}{
		"none":   {nil, func(v float64) bool { return v == 21 }, 0},
		"error":  {errSimulated, nil, 0},
		"absent": {sensors.ErrAbsent, nil, 0},
		"hang":   {nil, func(v float64) bool { return v == 21 }, time.Minute},
		"nan":    {nil, math.IsNaN, 0},
		"spike":  {nil, func(v float64) bool { return v > 50 }, 0},
	}
	for _, fault := range faults() {
		tt, ok := tests[fault]
		if !ok {
			t.Errorf("fault %q has no test", fault)
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			c := Driver().New().(*Config)
			c.Wave, c.Fault, c.FaultEvery = "constant", fault, 3
			start := time.Now()
			values, errs := read(t, c, 6)
			for i := range values {
				bad := i == 2 || i == 5
				switch {
				case !bad && (values[i] != 21 || errs[i] != nil):
					t.Errorf("%s: reading %d: %g, %v; want a good one", fault, i+1, values[i], errs[i])
				case bad && !errors.Is(errs[i], tt.is), bad && errs[i] == nil && !tt.ok(values[i]):
					t.Errorf("%s: reading %d: %g, %v", fault, i+1, values[i], errs[i])
				}
			}
			if took := time.Since(start); took != 6*time.Second+2*tt.took {
				t.Errorf("%s: six readings took %s", fault, took)
			}
		})
	}
}

func TestFaultsGoOnOverAnOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Driver().New().(*Config)
		c.Fault, c.FaultEvery = "absent", 2
		for i := range 4 {
			_, errs := read(t, c, 1)
			if want := i%2 == 1; errors.Is(errs[0], sensors.ErrAbsent) != want {
				t.Errorf("opened for the %d. time: %v, want absent: %t", i+1, errs[0], want)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		key    string
	}{
		{func(c *Config) { c.Measurement = "Temperature" }, "measurement"},
		{func(c *Config) { c.Measurement = "a b" }, "measurement"},
		{func(c *Config) { c.Wave = "square" }, "wave"},
		{func(c *Config) { c.Fault = "explode" }, "fault"},
		{func(c *Config) { c.FaultEvery = 0 }, "fault_every"},
		{func(c *Config) { c.Max = c.Min - 1 }, "max"},
		{func(c *Config) { c.Max = math.NaN() }, "max"},
		{func(c *Config) { c.Min = math.Inf(-1) }, "min"},
		{func(c *Config) { c.Period = quantity.Duration{} }, "period"},
	} {
		c := Driver().New().(*Config)
		tt.change(c)
		var keys []string
		c.Validate(func(key, _ string) { keys = append(keys, key) })
		if diff := cmp.Diff([]string{tt.key}, keys); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c, diff)
		}
	}
}
