package sensors

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iotagent/internal/clock"
	"iotagent/internal/quantity"
)

func f(v float64) *float64 { return &v }

func one(v float64) []Sample { return []Sample{{"temperature_celsius", v}} }

func TestCalibrate(t *testing.T) {
	points := [][]float64{{0, 0.3}, {100, 99.1}, {200, 210}}
	for name, row := range map[string]struct {
		c        Calibration
		in, want float64
	}{
		"offset":             {Calibration{Offset: -0.4}, 21.5, 21.1},
		"scale":              {Calibration{Scale: f(2)}, 21.5, 43},
		"scale, then offset": {Calibration{Scale: f(2), Offset: 1}, 21.5, 44},
		"first point":        {Calibration{Points: points}, 0, 0.3},
		"between points":     {Calibration{Points: points}, 50, 49.7},
		"point in between":   {Calibration{Points: points}, 100, 99.1},
		"second piece":       {Calibration{Points: points}, 150, 154.55},
		"last point":         {Calibration{Points: points}, 200, 210},
		"below":              {Calibration{Points: points}, -10, 0.3 - 9.88},
		"above":              {Calibration{Points: points}, 300, 210 + 110.9},
		"falling":            {Calibration{Points: [][]float64{{0.5, 100}, {2.5, 0}}}, 1, 75},
		"another sample":     {Calibration{Sample: "pressure_pascals", Offset: 5}, 21.5, 21.5},
	} {
		t.Run(name, func(t *testing.T) {
			if row.c.Sample == "" {
				row.c.Sample = "temperature_celsius"
			}
			in := one(row.in)
			got, err := calibrate([]Calibration{row.c}, in)
			if err != nil || math.Abs(got[0].Value-row.want) > 1e-12 || in[0].Value != row.in {
				t.Errorf("got %v, %v (the driver's own is %v now), want %v", got, err, in, row.want)
			}
		})
	}
	if _, err := calibrate([]Calibration{{Sample: "temperature_celsius", Scale: f(1e300)}}, one(1e300)); err == nil {
		t.Error("an infinite value is let through")
	}
}

func TestCalibrationMeetsItsPointsAndNeverJumps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var points [][]float64
		x := -100.0
		for range rapid.IntRange(2, 8).Draw(t, "points") {
			x += rapid.Float64Range(0.1, 50).Draw(t, "apart")
			points = append(points, []float64{x, rapid.Float64Range(-1000, 1000).Draw(t, "right")})
		}
		for _, p := range points {
			for _, d := range []float64{0, -1e-9, 1e-9} {
				if got := along(points, p[0]+d); math.Abs(got-p[1]) > 1e-4 {
					t.Fatalf("at %v%+v: %v, want %v", p[0], d, got, p[1])
				}
			}
		}
	})
}

func TestOutOfRange(t *testing.T) {
	l := newLimiter([]Limit{{Sample: "temperature_celsius", Min: f(-40), Max: f(85)}, {Sample: "humidity_percent", Max: f(100)}})
	for _, row := range []struct {
		samples []Sample
		want    string
	}{
		{one(-40), ""},
		{one(85), ""},
		{one(85.0625), "temperature_celsius 85.0625 above max 85"},
		{one(-127), "temperature_celsius -127 below min -40"},
		{[]Sample{{"humidity_percent", 118.99}, {"temperature_celsius", 130}}, "temperature_celsius 130 above max 85; humidity_percent 118.99 above max 100"},
		{[]Sample{{"pressure_pascals", 1e9}}, ""},
	} {
		if got := l.outOfRange(row.samples); got != row.want {
			t.Errorf("%v: %q, want %q", row.samples, got, row.want)
		}
	}
}

func TestAlarms(t *testing.T) {
	limit := Limit{Sample: "temperature_celsius", AlarmAbove: f(80), AlarmBelow: f(5), Hysteresis: 2}
	patient := limit
	patient.AlarmAfter = 3
	for name, row := range map[string]struct {
		limit  Limit
		values []float64
		want   []string // "value: over | raised"
	}{
		"above and back": {limit, []float64{79, 80, 80.1, 90, 80, 78.1, 78, 79}, []string{
			"80.1:  | temperature_celsius 80.1 above 80", "78: temperature_celsius 78 no longer above 80 | ",
		}},
		"below and back": {limit, []float64{5, 4.9, 6, 7, 4}, []string{
			"4.9:  | temperature_celsius 4.9 below 5", "7: temperature_celsius 7 no longer below 5 | ", "4:  | temperature_celsius 4 below 5",
		}},
		"from one to the other": {limit, []float64{90, 1}, []string{
			"90:  | temperature_celsius 90 above 80", "1: temperature_celsius 1 no longer above 80 | temperature_celsius 1 below 5",
		}},
		"only after three": {patient, []float64{81, 82, 79.9, 81, 82, 83, 84, 85, 70}, []string{
			"83:  | temperature_celsius 83 above 80", "70: temperature_celsius 70 no longer above 80 | ",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimiter([]Limit{row.limit})
			var got []string
			for _, v := range row.values {
				if over, raised := l.alarms(one(v)); over+raised != "" {
					got = append(got, fmt.Sprintf("%v: %s | %s", v, over, raised))
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Raised and over alternate, raised comes first and with a value that is beyond, over with one that is well within.
func TestAlarmsAlternate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := Limit{
			Sample: "temperature_celsius", AlarmAbove: f(10), Hysteresis: rapid.Float64Range(0, 5).Draw(t, "hysteresis"), AlarmAfter: rapid.IntRange(0, 4).Draw(t, "after"),
		}
		l := newLimiter([]Limit{limit})
		on, beyond := false, 0
		for _, v := range rapid.SliceOf(rapid.Float64Range(0, 20)).Draw(t, "values") {
			beyond++
			if v <= 10 {
				beyond = 0
			}
			over, raised := l.alarms(one(v))
			switch {
			case raised != "" && (on || beyond < max(limit.AlarmAfter, 1)):
				t.Fatalf("raised at %v, the %d. beyond, while on is %v", v, beyond, on)
			case over != "" && (!on || v > 10-limit.Hysteresis):
				t.Fatalf("over at %v while on is %v", v, on)
			case raised == "" && !on && beyond >= max(limit.AlarmAfter, 1):
				t.Fatalf("not raised at %v, the %d. beyond", v, beyond)
			case over == "" && on && v <= 10-limit.Hysteresis:
				t.Fatalf("not over at %v", v)
			}
			on = (on || raised != "") && over == ""
		}
	})
}

func TestStillness(t *testing.T) {
	s := stillness{after: 30 * time.Second}
	for i, row := range []struct {
		value float64
		want  string
	}{
		{1, ""}, {1, ""}, {1, ""}, {1, "no value has changed for 30s, the sensor may be stuck"}, {1, "no value has changed for 40s, the sensor may be stuck"}, {2, ""}, {1, ""},
	} {
		if got := s.stuck(one(row.value), time.Duration(i)*10*time.Second); got != row.want {
			t.Errorf("reading %d: %q, want %q", i, got, row.want)
		}
	}
	never := stillness{}
	if got := never.stuck(one(1), 0) + never.stuck(one(1), time.Hour); got != "" {
		t.Error(got)
	}
}

func TestDeadband(t *testing.T) {
	const tick = 10 * time.Second
	good := func(v float64) Reading { return Reading{Quality: Good, Samples: one(v)} }
	bad := func(why string) Reading { return Reading{Quality: Failed, Reason: why} }
	odd := func(v float64) Reading { return Reading{Quality: OutOfRange, Reason: "above", Samples: one(v)} }
	window := func(failed int) Reading {
		return Reading{Quality: Good, Samples: one(1), Window: &Window{Count: 60 - failed, Failed: failed, Func: "mean"}}
	}
	absolute := Sampling{Deadband: []Band{{Sample: "temperature_celsius", Absolute: 0.5}}, Heartbeat: quantity.Seconds(60)}
	for name, row := range map[string]struct {
		c        Sampling
		readings []Reading
		want     string // x for each that passes
	}{
		"off":                       {Sampling{}, []Reading{good(1), good(1), bad("x"), bad("x")}, "xxxx"},
		"band":                      {absolute, []Reading{good(1), good(1.5), good(0.5), good(1.51), good(1.2), good(1)}, "x..x.x"},
		"creeps":                    {absolute, []Reading{good(1), good(1.25), good(1.5), good(1.75), good(2)}, "x..x."},
		"heartbeat":                 {absolute, []Reading{good(1), good(1), good(1), good(1), good(1), good(1), good(1), good(1)}, "x.....x."},
		"heartbeat between ticks":   {Sampling{Heartbeat: quantity.Seconds(66)}, []Reading{good(1), good(1), good(1), good(1), good(1), good(1), good(1), good(1)}, "x.....x."},
		"only a heartbeat":          {Sampling{Heartbeat: quantity.Seconds(60)}, []Reading{good(1), good(1), good(1.001), good(1.001)}, "x.x."},
		"quality":                   {absolute, []Reading{good(1), odd(1), odd(1), good(1), good(1)}, "xx.x."},
		"failures":                  {absolute, []Reading{good(1), bad("hangs for 1s"), bad("hangs for 2s"), bad("hangs for 3s"), good(1)}, "xx..x"},
		"percent":                   {Sampling{Deadband: []Band{{Percent: 10}}}, []Reading{good(-100), good(-110), good(-89), good(-97), good(-98)}, "x.x.x"},
		"percent of nothing":        {Sampling{Deadband: []Band{{Percent: 10}}}, []Reading{good(0), good(0), good(0.001)}, "x.x"},
		"the named goes first":      {Sampling{Deadband: []Band{{Sample: "temperature_celsius", Absolute: 5}, {Absolute: 0.1}}}, []Reading{good(1), good(4)}, "x."},
		"others by any change":      {Sampling{Deadband: []Band{{Sample: "pressure_pascals", Absolute: 5}}}, []Reading{good(1), good(1), good(1.1)}, "x.x"},
		"windows that fail in part": {absolute, []Reading{window(0), window(0), window(59), window(1), window(0)}, "x.x.x"},
		"more samples":              {absolute, []Reading{good(1), {Quality: Good, Samples: append(one(1), Sample{"humidity_percent", 1})}, good(1)}, "xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			d, got := newDeadband(&row.c, tick), ""
			start := time.Now()
			for i, r := range row.readings {
				kind := conditionOf(nil)
				if r.Quality == Failed {
					kind = "failing"
				}
				mark := "."
				if d.passes(&r, kind, start.Add(time.Duration(i)*tick)) {
					mark = "x"
				}
				got += mark
			}
			if got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}

// What the cloud knows is never further from the truth than the band, nor older than the heartbeat.
func TestDeadbandNeverWithholdsMoreThanTheBand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		band := Band{Absolute: rapid.Float64Range(0, 3).Draw(t, "absolute"), Percent: rapid.Float64Range(0, 20).Draw(t, "percent")}
		period := time.Duration(rapid.Int64Range(1, 30).Draw(t, "period")) * time.Second
		heartbeat := period * time.Duration(rapid.IntRange(1, 20).Draw(t, "heartbeat"))
		d := newDeadband(&Sampling{Deadband: []Band{band}, Heartbeat: quantity.Duration{Duration: heartbeat}}, period)
		tick := time.Now()
		var known float64
		var at time.Time
		for i, v := range rapid.SliceOfN(rapid.Float64Range(-20, 20), 1, 200).Draw(t, "values") {
			tick = tick.Add(period)
			if d.passes(&Reading{Quality: Good, Samples: one(v)}, conditionOf(nil), tick) {
				known, at = v, tick
			}
			if most := band.Absolute + band.Percent/100*math.Abs(known); i == 0 && at.IsZero() || math.Abs(v-known) > most || tick.Sub(at) >= heartbeat && at != tick {
				t.Fatalf("reading %d: %v is withheld, %v was reported %v ago", i, v, known, tick.Sub(at))
			}
		}
	})
}

func mono(seconds int) clock.Stamp { return clock.Stamp{Mono: time.Duration(seconds) * time.Second} }

func TestAggregate(t *testing.T) {
	a := newAggregator([]string{"mean", "min", "max", "last", "count"})
	for i, v := range []float64{20, 24, 22, 21} {
		r := Reading{Sensor: "boiler", At: mono(10 * (i + 1)), Quality: Good, Samples: []Sample{{"temperature_celsius", v}, {"pressure_pascals", 1e5}}}
		if i == 1 {
			r.Quality, r.Reason = OutOfRange, "temperature_celsius 24 above max 23"
		}
		a.add(&r, conditionOf(nil), 7)
	}
	a.add(&Reading{At: mono(50), Quality: Failed, Reason: "no answer"}, "failing", 7)
	got, kind := a.close()
	column := func(f string, v float64) Column {
		return Column{f, []Sample{{"temperature_celsius", v}, {"pressure_pascals", 1e5}}}
	}
	want := Reading{
		Sensor: "boiler", At: mono(10), Quality: OutOfRange, Reason: "1 of 4 readings: temperature_celsius 24 above max 23", Samples: column("", 21.75).Samples,
		Window: &Window{Span: 40 * time.Second, Count: 4, Failed: 1, Func: "mean", More: []Column{column("min", 20), column("max", 24), column("last", 21)}},
	}
	if diff := cmp.Diff(want, got); diff != "" || kind != conditionOf(nil) || !a.empty() {
		t.Errorf("%s, empty %v (-want +got):\n%s", kind, a.empty(), diff)
	}

	a.add(&Reading{Sensor: "boiler", At: mono(60), Quality: Failed, Reason: "no answer"}, "failing", 8)
	a.add(&Reading{Sensor: "boiler", At: mono(70), Quality: Stale, Reason: "hangs"}, "hanging", 8)
	got, kind = a.close()
	want = Reading{Sensor: "boiler", At: mono(60), Quality: Stale, Reason: "hangs", Window: &Window{Span: 10 * time.Second, Failed: 2, Func: "mean"}}
	if diff := cmp.Diff(want, got); diff != "" || kind != "hanging" {
		t.Errorf("%s (-want +got):\n%s", kind, diff)
	}

	for _, q := range []Quality{Stale, OutOfRange, Stale} { // what cannot be says more than what does not change
		a.add(&Reading{At: mono(75), Quality: q, Reason: string(q), Samples: one(5)}, conditionOf(nil), 8)
	}
	if got, _ = a.close(); got.Quality != OutOfRange || got.Reason != "out_of_range" {
		t.Errorf("of stale and out of range: %s, %s", got.Quality, got.Reason)
	}

	a.add(&Reading{Sensor: "boiler", At: mono(80), Quality: Good, Samples: one(5)}, conditionOf(nil), 9)
	if got, _ = a.close(); len(got.Samples) != 1 || got.Window.Count != 1 || got.Window.Span != 0 {
		t.Errorf("the window before is still there: %+v", got)
	}
}

func TestAggregateKeepsItsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAggregator([]string{"min", "mean", "max", "last"})
		values := rapid.SliceOfN(rapid.Float64(), 1, 100).Draw(t, "values")
		for _, v := range values {
			a.add(&Reading{Quality: Good, Samples: one(v)}, conditionOf(nil), 0)
		}
		r, _ := a.close()
		low, mean, high, last := r.Samples[0].Value, r.Window.More[0].Samples[0].Value, r.Window.More[1].Samples[0].Value, r.Window.More[2].Samples[0].Value
		if !(low <= mean && mean <= high) || last != values[len(values)-1] || r.Window.Count != len(values) {
			t.Fatalf("min %v, mean %v, max %v, last %v of %v", low, mean, high, last, values)
		}
	})
}

func TestMeanIsExact(t *testing.T) {
	a := newAggregator(nil)
	for i := range 36000 {
		a.add(&Reading{Quality: Good, Samples: one(21.3 + 0.1*float64(i%3))}, conditionOf(nil), 0)
	}
	if r, _ := a.close(); r.Samples[0].Value != 21.4 {
		t.Errorf("mean %v, want 21.4", r.Samples[0].Value)
	}
}

func TestNamesAndTags(t *testing.T) {
	c := Sampling{
		Calibration: []Calibration{{Sample: "b"}}, Limits: []Limit{{Sample: "a"}, {Sample: "b"}}, Deadband: []Band{{}, {Sample: "c"}},
		Tags: map[string]string{"site": "north", "line": "3"},
	}
	if got := strings.Join(c.samples(), " "); got != "a b c" {
		t.Error(got)
	}
	if diff := cmp.Diff([]Tag{{"line", "3"}, {"site", "north"}}, c.tags()); diff != "" {
		t.Error(diff)
	}
}
