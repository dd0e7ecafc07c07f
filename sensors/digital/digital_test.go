package digital

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/internal/quantity"
	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

const pin = "GPIO17"

func machine(l *sensortest.Line) *sensortest.Machine {
	return &sensortest.Machine{Lines: map[string]sensors.Input{pin: l}}
}

// config is that of a contact to ground whose edges are alarms.
func config(change func(c *Config)) *Config {
	c := Driver().New().(*Config)
	c.Pin, c.Edges, c.ActiveLow, c.Bias = pin, "both", true, sensors.BiasPullUp
	if change != nil {
		change(c)
	}
	return c
}

func start(t *testing.T, c *Config) (sensors.Watcher, *sensortest.Line) {
	t.Helper()
	l := sensortest.NewLine("GPIO17 (P1_11, gpiochip0:17)")
	s, err := c.Open(t.Context(), machine(l))
	if err != nil {
		t.Fatal(err)
	}
	return s.(sensors.Watcher), l
}

func read(t *testing.T, s sensors.Sensor) map[string]float64 {
	t.Helper()
	samples, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, v := range samples {
		got[v.Name] = v.Value
	}
	return got
}

func TestContract(t *testing.T) {
	line := func(change func(l *sensortest.Line)) func(t *testing.T) sensors.Hardware {
		return func(*testing.T) sensors.Hardware {
			l := sensortest.NewLine("GPIO17 (gpiochip0:17)")
			if change != nil {
				change(l)
			}
			return machine(l)
		}
	}
	broken := errors.New("input/output error")
	sensortest.Run(t, sensortest.Case{
		Driver: Driver(), Required: []string{"pin"}, Hardware: line(nil),
		Configure: func(c sensors.Config) { *c.(*Config) = *config(nil) },
		Faults: []sensortest.Fault{
			{Name: "no such line", Hardware: func(*testing.T) sensors.Hardware { return &sensortest.Machine{} }, Want: sensors.ErrAbsent},
			{Name: "unplugged", Hardware: line((*sensortest.Line).Unplug), Want: sensors.ErrAbsent},
			{Name: "the level cannot be read", Hardware: line(func(l *sensortest.Line) { l.Fail(broken) }), Want: broken},
		},
	})
}

func TestTaken(t *testing.T) {
	for edges, want := range map[string][2]bool{"none": {}, "rising": {true, false}, "falling": {false, true}, "both": {true, true}} {
		s, l := start(t, config(func(c *Config) { c.Edges = edges }))
		o := sensors.InputOptions{
			Consumer: "iotagent digital", Bias: sensors.BiasPullUp, ActiveLow: true, Rising: want[0], Falling: want[1], Debounce: 20 * time.Millisecond,
		}
		if d := cmp.Diff(o, l.Options()); d != "" {
			t.Errorf("%s: %s", edges, d)
		}
		if s.String() != "digital@GPIO17 (P1_11, gpiochip0:17)" {
			t.Error(s)
		}
		if err := s.Halt(); err != nil || l.Closed() != 1 {
			t.Errorf("%v, closed %d times", err, l.Closed())
		}
	}
}

func TestLevel(t *testing.T) {
	s, l := start(t, config(func(c *Config) { c.Edges = "none" }))
	for _, active := range []bool{true, false, true} {
		l.Set(active)
		want := map[string]float64{"active_state": map[bool]float64{true: 1}[active]}
		if d := cmp.Diff(want, read(t, s)); d != "" {
			t.Error(d)
		}
	}
	if err := s.Halt(); err != nil {
		t.Error(err)
	}
}

func TestEdgesAreEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := start(t, config(nil))
		at := time.Now()
		l.Edge(true, at)
		l.Edge(false, at.Add(time.Second))
		synctest.Wait()
		if err := s.Halt(); err != nil {
			t.Error(err)
		}
		want := []sensors.Event{
			{At: at, Samples: []sensors.Sample{{Name: "active_state", Value: 1}}, Reason: "rising edge: the input became active"},
			{At: at.Add(time.Second), Samples: []sensors.Sample{{Name: "active_state"}}, Reason: "falling edge: the input became inactive"},
		}
		var got []sensors.Event
		for e := range s.Events() { // Halt has closed it
			got = append(got, e)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// A broken contact makes a thousand edges in ten seconds: some are alarms, all the others are told.
func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := start(t, config(nil))
		at := time.Now()
		for i := range 1000 {
			l.Edge(i%2 == 0, at.Add(time.Duration(i)*10*time.Millisecond))
		}
		synctest.Wait()
		sent := len(s.Events())
		if sent != 60 {
			t.Errorf("%d alarms of a burst, want 60, and none beyond what fits while nobody takes them", sent)
		}
		want := map[string]float64{"active_state": 0, "suppressed_events_count": float64(1000 - sent)}
		if d := cmp.Diff(want, read(t, s)); d != "" {
			t.Error(d)
		}
		if got := read(t, s)["suppressed_events_count"]; got != 0 {
			t.Errorf("told twice: %g", got)
		}
		for range sent {
			<-s.Events()
		}
		l.Edge(true, at.Add(2*time.Minute))
		if e := <-s.Events(); !e.At.Equal(at.Add(2 * time.Minute)) {
			t.Errorf("after the burst: %+v", e)
		}
		if err := s.Halt(); err != nil {
			t.Error(err)
		}
	})
}

// A failed reading tells nothing, so the next one has to.
func TestSuppressedOutlivesFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := start(t, config(func(c *Config) { c.MaxEvents = 1 }))
		l.Edge(true, time.Now())
		l.Edge(false, time.Now())
		l.Lose(5)
		l.Edge(true, time.Now())
		synctest.Wait()
		l.Fail(errors.New("broken"))
		if _, err := s.Read(t.Context()); err == nil {
			t.Error("no error")
		}
		l.Fail(nil)
		if got := read(t, s)["suppressed_events_count"]; got != 2+5 {
			t.Errorf("%g edges were told, want 2 beyond the limit and 5 lost", got)
		}
		if err := s.Halt(); err != nil {
			t.Error(err)
		}
	})
}

func TestUnplugged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := start(t, config(nil))
		l.Unplug()
		l.Fail(nil) // a kernel that still answers
		synctest.Wait()
		if _, err := s.Read(t.Context()); !errors.Is(err, sensors.ErrAbsent) {
			t.Errorf("got %v", err)
		}
		if err := s.Halt(); err != nil || l.Closed() != 1 {
			t.Errorf("%v, closed %d times", err, l.Closed())
		}
	})
}

// replugged is a machine whose line the test exchanges.
type replugged struct {
	sensortest.Machine
	line atomic.Pointer[sensortest.Line]
}

func (r *replugged) Input(name string, o sensors.InputOptions) (sensors.Input, error) {
	return machine(r.line.Load()).Input(name, o)
}

// However rarely it is read: an input whose chip is gone says so, and is opened as soon as the chip is back.
func TestUnpluggedBetweenTwoReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := sensortest.NewLine("GPIO17 (gpiochip0:17)")
		var m replugged
		m.line.Store(l)
		common := sensors.Common{Name: "door", Type: "digital", Interval: quantity.Seconds(3600)}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		go func() {
			time.Sleep(time.Minute)
			l.Edge(true, time.Now())
			l.Unplug()
			time.Sleep(2 * time.Minute)
			l = sensortest.NewLine("GPIO17 (gpiochip0:17)")
			m.line.Store(l)
			time.Sleep(2 * time.Minute)
			l.Edge(true, time.Now())
		}()
		var got []string
		err := sensors.NewSampler(common, config(nil), &m, nil).Run(ctx, func(r sensors.Reading) {
			got = append(got, fmt.Sprintf("%s %t %d", r.Quality, r.Alarm, len(r.Samples)))
		})
		want := []string{"good false 2", "good true 1", "error false 0", "good false 2", "good true 1"}
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Error(err, d)
		}
	})
}

func TestBucket(t *testing.T) {
	at := time.Now()
	b := newBucket(6)
	var passed []int
	for second := range 60 {
		if b.take(at.Add(time.Duration(second) * time.Second)) {
			passed = append(passed, second)
		}
	}
	if d := cmp.Diff([]int{0, 1, 2, 3, 4, 5, 10, 20, 30, 40, 50}, passed); d != "" {
		t.Error(d)
	}
	if !b.take(at.Add(time.Hour)) || b.take(at) {
		t.Error("an hour later, or back in the past")
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		change    func(c *Config)
		key, word string
	}{
		{func(c *Config) { c.Pin = "" }, "pin", "is missing"},
		{func(c *Config) { c.Pin = "P1_6" }, "pin", "is ground"},
		{func(c *Config) { c.Bias = "up" }, "bias", `want "none", "pull-up" or "pull-down", or`},
		{func(c *Config) { c.Debounce = quantity.Seconds(11) }, "debounce", "at most 10s"},
		{func(c *Config) { c.Edges = "" }, "edges", `want "none", "rising", "falling" or "both", got`},
		{func(c *Config) { c.MaxEvents = 0 }, "max_events_per_minute", "1 to 6000"},
		{func(c *Config) { c.MaxEvents = 6001 }, "max_events_per_minute", "1 to 6000"},
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
