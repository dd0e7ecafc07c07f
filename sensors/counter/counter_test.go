package counter

import (
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/internal/quantity"
	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

const pin = "GPIO27"

func config(change func(c *Config)) *Config {
	c := Driver().New().(*Config)
	c.Pin = pin
	if change != nil {
		change(c)
	}
	return c
}

// start opens a counter whose total lies in dir.
func start(t *testing.T, dir string, change func(c *Config)) (*device, *sensortest.Line) {
	t.Helper()
	l := sensortest.NewLine("GPIO27 (P1_13, gpiochip0:27)")
	s, err := config(change).Open(t.Context(), &sensortest.Machine{Lines: map[string]sensors.Input{pin: l}, State: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*device), l
}

func halt(t *testing.T, d *device) {
	t.Helper()
	if err := d.Halt(); err != nil {
		t.Error(err)
	}
}

// pulse makes n pulses, one each step, and waits until they are counted.
func pulse(l *sensortest.Line, n int, step time.Duration) {
	for range n {
		time.Sleep(step) // in a bubble
		l.Edge(true, time.Now())
		l.Edge(false, time.Now())
	}
	synctest.Wait()
}

func read(t *testing.T, d *device) map[string]float64 {
	t.Helper()
	samples, err := d.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, v := range samples {
		got[v.Name] = v.Value
	}
	return got
}

func wantTotal(t *testing.T, d *device, pulses, uncertain float64) {
	t.Helper()
	got := read(t, d)
	if got["pulses_count"] != pulses || got["total_uncertain"] != uncertain {
		t.Errorf("got %v, want %g pulses and %g times doubt", got, pulses, uncertain)
	}
}

func told(d *device) (reasons []string) {
	for len(d.events) > 0 {
		reasons = append(reasons, (<-d.events).Reason)
	}
	return reasons
}

func TestContract(t *testing.T) {
	machine := func(change func(m *sensortest.Machine, l *sensortest.Line)) func(t *testing.T) sensors.Hardware {
		return func(t *testing.T) sensors.Hardware {
			l := sensortest.NewLine("GPIO27 (gpiochip0:27)")
			m := &sensortest.Machine{Lines: map[string]sensors.Input{pin: l}, State: t.TempDir()}
			if change != nil {
				change(m, l)
			}
			return m
		}
	}
	broken := errors.New("input/output error")
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(), Required: []string{"pin"}, Hardware: machine(nil),
		Configure: func(c sensors.Config) { *c.(*Config) = *config(nil) },
		Faults: []sensortest.Fault{
			{Name: "no such line", Hardware: func(*testing.T) sensors.Hardware { return &sensortest.Machine{} }, Want: sensors.ErrAbsent},
			{Name: "unplugged", Hardware: machine(func(_ *sensortest.Machine, l *sensortest.Line) { l.Unplug() }), Want: sensors.ErrAbsent},
			{Name: "the line cannot be read", Hardware: machine(func(_ *sensortest.Machine, l *sensortest.Line) { l.Fail(broken) }), Want: broken},
			{Name: "the total is a folder", Hardware: machine(func(m *sensortest.Machine, _ *sensortest.Line) {
				if err := os.MkdirAll(filepath.Join(m.State, "counters", pin+".json"), 0o700); err != nil {
					t.Fatal(err)
				}
			})},
		},
	})
}

func TestTaken(t *testing.T) {
	for _, edge := range []string{"rising", "falling"} {
		d, l := start(t, "", func(c *Config) { c.Edge, c.Bias, c.ActiveLow = edge, sensors.BiasPullUp, true })
		want := sensors.InputOptions{
			Consumer: "iotagent counter", Bias: sensors.BiasPullUp, ActiveLow: true, Debounce: 5 * time.Millisecond,
			Rising: edge == "rising", Falling: edge == "falling",
		}
		if diff := cmp.Diff(want, l.Options()); diff != "" {
			t.Error(diff)
		}
		halt(t, d)
		if l.Closed() != 1 {
			t.Errorf("closed %d times", l.Closed())
		}
	}
}

// Edges that the kernel had no room for are counted by their numbers, also where those begin again at 0.
func TestLostEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, "", nil)
		l.Lose(3)
		pulse(l, 1, time.Second)
		l.Lose(1000)
		pulse(l, 1, time.Second)
		wantTotal(t, d, 1005, 0)
		l.Lose(math.MaxUint32 - 1005 + 10)
		pulse(l, 1, time.Second)
		wantTotal(t, d, math.MaxUint32+11, 0)
		halt(t, d)
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, "", nil)
		rate := func(want float64) {
			t.Helper()
			if got, ok := read(t, d)["rate_hertz"]; !ok || math.Abs(got-want) > 1e-9 {
				t.Errorf("rate %g, %v; want %g", got, ok, want)
			}
		}
		if got, ok := read(t, d)["rate_hertz"]; ok {
			t.Errorf("the first reading has a rate of %g", got)
		}
		time.Sleep(10 * time.Second)
		rate(0)
		pulse(l, 5, time.Second)
		time.Sleep(5 * time.Second)
		rate(0.5) // 5 in 10 s: where the first of them began is not known
		time.Sleep(4 * time.Second)
		pulse(l, 3, 2*time.Second)
		rate(3 / 15.0) // from the last of those before to the last of these
		time.Sleep(10 * time.Second)
		rate(0)
		time.Sleep(8 * time.Second)
		pulse(l, 1, time.Second)
		time.Sleep(time.Second)
		rate(0.1)
		pulse(l, 100, 30*time.Millisecond)
		rate(100 / 4.0)
		halt(t, d)
	})
}

func TestScale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, "", func(c *Config) {
			c.Scale, c.Initial, c.TotalName, c.RateName = 0.5, 100, "water_liters", "flow_liters_per_second"
		})
		read(t, d)
		pulse(l, 8, time.Second)
		want := map[string]float64{"water_liters": 104, "total_uncertain": 0, "flow_liters_per_second": 0.5}
		if diff := cmp.Diff(want, read(t, d)); diff != "" {
			t.Error(diff)
		}
		halt(t, d)
	})
}

// The chip comes back, and the total goes on.
func TestUnplugged(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, dir, nil)
		pulse(l, 5, time.Second)
		l.Unplug()
		l.Fail(nil) // a kernel that still answers
		synctest.Wait()
		if _, err := d.Read(t.Context()); !errors.Is(err, sensors.ErrAbsent) {
			t.Errorf("got %v", err)
		}
		halt(t, d)
		if got := told(d); len(got) != 1 || !strings.Contains(got[0], "let the line go") {
			t.Errorf("told is %q", got)
		}
		d, l = start(t, dir, nil)
		pulse(l, 1, time.Second)
		wantTotal(t, d, 6, 1) // the pulses meanwhile, if there were any, are missing
		halt(t, d)
	})
}

// Kernels that do not say that a chip is gone tell it to the next reading, after which the counter is halted.
func TestUnpluggedFoundByAReading(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, dir, nil)
		l.Fail(sensors.ErrAbsent)
		if _, err := d.Read(t.Context()); !errors.Is(err, sensors.ErrAbsent) {
			t.Errorf("got %v", err)
		}
		halt(t, d)
		if got := told(d); len(got) != 1 || onDisk(t, dir) != (state{Clean: true, Uncertain: 1}) {
			t.Errorf("told is %q, saved %+v", got, onDisk(t, dir))
		}
	})
}

// What came before the stop is counted, also what is still on its way from the kernel then.
func TestStopInAFlood(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d, l := start(t, dir, nil)
		go func() {
			for range 20 {
				time.Sleep(3 * time.Millisecond)
				pulse(l, 1, 0)
			}
		}()
		synctest.Wait()
		halt(t, d)
		if diff := cmp.Diff(state{Pulses: 20, Clean: true}, onDisk(t, dir)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestValidate(t *testing.T) {
	tests := []struct {
		change    func(c *Config)
		key, word string
	}{
		{func(c *Config) { c.Pin = "" }, "pin", "is missing"},
		{func(c *Config) { c.Bias = "up" }, "bias", `"pull-up"`},
		{func(c *Config) { c.Debounce = quantity.Seconds(11) }, "debounce", "at most 10s"},
		{func(c *Config) { c.Edge = "both" }, "edge", `"rising" or "falling"`},
		{func(c *Config) { c.Scale = 0 }, "scale", "one pulse is worth"},
		{func(c *Config) { c.Scale = math.NaN(); c.TotalName = "a"; c.RateName = "b" }, "scale", "NaN"},
		{func(c *Config) { c.Scale = 2; c.RateName = "flow" }, "total_name", "must be given with scale = 2"},
		{func(c *Config) { c.Scale = 2; c.TotalName = "water" }, "rate_name", "must be given with scale = 2"},
		{func(c *Config) { c.TotalName = "Water m3" }, "total_name", "lower case"},
		{func(c *Config) { c.RateName = "total_uncertain" }, "rate_name", "lower case"},
		{func(c *Config) { c.RateName = "pulses_count" }, "rate_name", "as total_name is"},
		{func(c *Config) { c.Initial = math.Inf(1) }, "initial", "before the first pulse"},
		{func(c *Config) { c.SaveInterval = quantity.Seconds(1) }, "save_interval", "10s to 24h"},
		{func(*Config) {}, "", ""},
	}
	for _, tt := range tests {
		got := map[string]string{}
		config(tt.change).Validate(func(key, msg string) { got[key] = msg })
		keys := slices.Collect(maps.Keys(got))
		if tt.key == "" && len(keys) != 0 || tt.key != "" && (len(keys) != 1 || !strings.Contains(got[tt.key], tt.word)) {
			t.Errorf("got %v, want a word on %q with %q", got, tt.key, tt.word)
		}
	}
}
