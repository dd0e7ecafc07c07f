package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/config"
	"iotagent/internal/cli"
	"iotagent/internal/quantity"
	"iotagent/sensors"
	"iotagent/sensors/sim"
)

// simulated is a sensor that says 2 every interval.
func simulated(name string, interval time.Duration, fault string) config.Sensor {
	c := sim.Driver().New().(*sim.Config)
	c.Wave, c.Min, c.Max, c.Fault, c.FaultEvery = "constant", 1, 3, fault, 2
	return config.Sensor{Common: sensors.Common{Name: name, Type: "sim", Interval: quantity.Duration{Duration: interval}}, Config: c}
}

// watched is what watch prints in d of virtual time.
func watched(t *testing.T, d time.Duration, asJSON bool, chosen ...config.Sensor) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var b bytes.Buffer
	if err := watch(ctx, cli.IO{Out: &b}, chosen, nil, asJSON); err != nil {
		t.Errorf("watch: %v", err)
	}
	return b.String()
}

func TestWatchPrintsALineForEachReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		at := func(s int) string { return start.Add(time.Duration(s) * time.Second).Format(time.TimeOnly) }
		got := strings.Split(watched(t, 5500*time.Millisecond, false, simulated("boiler", 2*time.Second, "none")), "\n")
		want := []string{
			at(0) + "  boiler  temperature 2 °C  (0.0 ms)", at(2) + "  boiler  temperature 2 °C  (0.0 ms)", at(4) + "  boiler  temperature 2 °C  (0.0 ms)", "",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		got = strings.Split(watched(t, 3*time.Second, false, simulated("duct", 2*time.Second, "error")), "\n")
		if len(got) != 3 || !strings.Contains(got[1], "duct  error  sim@constant: simulated failure  (0.0 ms)") {
			t.Errorf("a failure: %q", got)
		}
	})
}

func TestWatchAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := watched(t, 2500*time.Millisecond, true, simulated("fast", time.Second, "none"), simulated("slow", 2*time.Second, "none"))
		counts := map[string]int{}
		for line := range strings.Lines(text) {
			var got taken
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			counts[got.Sensor]++
			if got.Values["temperature_celsius"] != 2 || got.Device != "sim@constant" {
				t.Errorf("%s", line)
			}
		}
		if counts["fast"] != 3 || counts["slow"] != 2 {
			t.Errorf("%v", counts)
		}
	})
}

// What makes one reading of several, or none, is for the hub.
func TestWatchShowsEachReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulated("boiler", time.Second, "none")
		s.Window, s.Offset = quantity.Seconds(3600), quantity.Duration{Duration: 500 * time.Millisecond}
		s.Deadband = []sensors.Band{{Absolute: 10}}
		if text := watched(t, 2500*time.Millisecond, false, s); strings.Count(text, "\n") != 3 {
			t.Errorf("%s", text)
		}
	})
}

// full is a pipe whose reader went away.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestWatchEndsWhenNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := watch(t.Context(), cli.IO{Out: full{}}, []config.Sensor{simulated("a", time.Second, "none"), simulated("b", time.Hour, "none")}, nil, false)
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
	if err := watch(t.Context(), cli.IO{Out: io.Discard}, nil, nil, false); err != nil {
		t.Errorf("without sensors: %v", err)
	}
}

func TestAlarmsAreMarked(t *testing.T) {
	r := sensors.Reading{Quality: sensors.OutOfRange, Reason: "above 90", Alarm: true, Samples: []sensors.Sample{{Name: "load_1m", Value: 0.5}}}
	got := newTaken(simulated("cpu", time.Second, "none"), "", r, 1500*time.Microsecond)
	if text, want := got.line(), "00:00:00  cpu  ALARM  load_1m 0.5  out_of_range  above 90  (1.5 ms)"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value float64
		want  string
	}{
		{"temperature_celsius", -21.5, "-21.5 °C"},
		{"pressure_pascals", 100653.25, "1006.5325 hPa"},
		{"draught_pascals", 12.5, "12.5 Pa"},
		{"memory_used_bytes", 7.6 * (1 << 30), "7.6 GiB"},
		{"memory_used_bytes", 1e30, "1000000000000000000000000000000 B"},
		{"acidity_ph", 7, "7 pH"},
		{"pulses_count", 12345678, "12345678"},
		{"load_1m", 0.1 + 0.2, "0.3"},
		{"celsius", 3, "3"},
		{"shunt_volts", 0.0000025, "0.0000025 V"},
	} {
		if got := withUnit(tt.name, tt.value); got != tt.want {
			t.Errorf("%s = %g: got %q, want %q", tt.name, tt.value, got, tt.want)
		}
	}
}

func TestAFailureBesideADaemonIsExplained(t *testing.T) {
	readings := []taken{{Quality: string(sensors.Good)}}
	if err := judge(t.Context(), readings, t.TempDir()); err != nil {
		t.Error(err)
	}
	readings = append(readings, taken{Quality: string(sensors.Failed)})
	if err := judge(t.Context(), readings, t.TempDir()); !errors.Is(err, errSensorsFailed) || errors.Unwrap(err) != nil {
		t.Errorf("without a daemon: %v", err)
	}
}
