package sensors_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/internal/clock"
	"iotagent/internal/quantity"
	"iotagent/sensors"
)

func ptr(v float64) *float64 { return &v }

// told writes what was emitted: when, the stamp where it is another time, and what.
func told(start time.Time, r sensors.Reading) string {
	text := fmt.Sprint(time.Since(start))
	switch {
	case r.Over:
		text += " over"
	case r.Alarm:
		text += " ALARM"
	}
	if at := r.At.Mono; at != time.Since(start) {
		text += fmt.Sprintf(" of %v", at)
	}
	for _, s := range r.Samples {
		text += fmt.Sprintf(" %v", s.Value)
	}
	if w := r.Window; w != nil {
		text += fmt.Sprintf(" %s of %d over %v", w.Func, w.Count, w.Span)
		if w.Failed > 0 {
			text += fmt.Sprintf(", %d failed", w.Failed)
		}
	}
	if r.Quality != sensors.Good {
		text += " " + string(r.Quality)
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

// stopwatch is a clock whose time since boot begins now.
func stopwatch() *clock.Clock {
	start := time.Now()
	return clock.NewWith("boot", func() time.Time { return time.Now().AddDate(26, 0, 0) }, func() time.Duration { return time.Since(start) })
}

// tell runs a sampler for d of virtual time and returns what it emitted.
func tell(t *testing.T, cfg sensors.Config, d time.Duration, c sensors.Common) ([]string, sensors.Status) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	start := time.Now()
	var all []string
	s := sensors.NewSampler(c, cfg, nil, &sensors.SamplerOptions{Clock: stopwatch()})
	if err := s.Run(ctx, func(r sensors.Reading) { all = append(all, told(start, r)) }); err != nil {
		t.Error(err)
	}
	return all, s.Status()
}

const failed = -999 // stands for a failed read in the tables

// failing is a sensor that gives these values, the last one for ever.
func failing(values ...float64) *fake {
	n := 0
	f := &fake{}
	f.read = func(context.Context) (float64, error) {
		n++
		if v := values[min(n, len(values))-1]; v != failed {
			return v, nil
		}
		return 0, errBroken
	}
	return f
}

func TestStages(t *testing.T) {
	limits := []sensors.Limit{{Sample: "temperature_celsius", Max: ptr(85), AlarmAbove: ptr(80), Hysteresis: 2}}
	for name, row := range map[string]struct {
		sampling sensors.Sampling
		values   []float64
		want     []string
	}{
		"calibrated before it is judged": {
			sensors.Sampling{Calibration: []sensors.Calibration{{Sample: "temperature_celsius", Offset: 4}}, Limits: limits},
			[]float64{79, 82, 70},
			[]string{
				"0s ALARM 83: temperature_celsius 83 above 80", "0s 83",
				"10s 86 out_of_range: temperature_celsius 86 above max 85",
				"20s over 74: temperature_celsius 74 no longer above 80", "20s 74",
			},
		},
		"an alarm that is out of range says so": {
			sensors.Sampling{Limits: limits},
			[]float64{90, failed, 90},
			[]string{
				"0s ALARM 90 out_of_range: temperature_celsius 90 above 80; temperature_celsius 90 above max 85",
				"0s 90 out_of_range: temperature_celsius 90 above max 85", "10s error: broken", "20s 90 out_of_range: temperature_celsius 90 above max 85",
			},
		},
		"alarms pass windows and deadbands": {
			sensors.Sampling{Limits: limits, Window: quantity.Seconds(30), Deadband: []sensors.Band{{Absolute: 50}}},
			[]float64{20, 81, 22, 23, 24, 25},
			[]string{
				"10s ALARM 81: temperature_celsius 81 above 80", "20s over 22: temperature_celsius 22 no longer above 80",
				"20s of 0s 41 mean of 3 over 20s", "50s of 30s 24 mean of 3 over 20s", // the maximum is 56 less
			},
		},
		"windows count what failed": {
			sensors.Sampling{Window: quantity.Seconds(30), Aggregate: []string{"last", "count"}},
			[]float64{1, failed, 3, failed, failed, failed, 7, 8},
			[]string{
				"20s of 0s 3 last of 2 over 20s, 1 failed", "50s of 30s last of 0 over 20s, 3 failed error: broken",
				"1m19s of 1m0s 8 last of 2 over 10s", // the stop closes a window
			},
		},
		"repeated failures": {
			sensors.Sampling{Heartbeat: quantity.Seconds(40)},
			[]float64{1, failed, failed, failed, failed, failed, failed, 1},
			[]string{"0s 1", "10s error: broken", "50s error: broken", "1m10s 1"},
		},
		"a sensor that is stuck": {
			sensors.Sampling{StaleAfter: quantity.Seconds(20)},
			[]float64{1, 1, 1, 1, 2},
			[]string{
				"0s 1", "10s 1", "20s 1 stale: no value has changed for 20s, the sensor may be stuck",
				"30s 1 stale: no value has changed for 30s, the sensor may be stuck", "40s 2",
			},
		},
		"later by the offset": {sensors.Sampling{Offset: quantity.Seconds(4)}, []float64{1, 2}, []string{"4s 1", "14s 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := common(10*time.Second, 0)
				c.Sampling = row.sampling
				got, _ := tell(t, failing(row.values...), time.Duration(len(row.values))*10*time.Second-time.Second, c)
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

func TestRetriesShareTheDeadline(t *testing.T) {
	for name, row := range map[string]struct {
		takes   time.Duration
		fails   int // of the first reads
		err     error
		want    []string
		retries uint64
		opens   int
	}{
		"helped":               {0, 2, errBroken, []string{"0s 3", "10s 4"}, 2, 1},
		"used up":              {0, 4, errBroken, []string{"0s error: broken", "10s 5"}, 3, 1},
		"no time left":         {2 * time.Second, 9, errBroken, []string{"2s of 0s error: broken", "12s of 10s error: broken"}, 0, 1},
		"absent for a moment":  {0, 1, sensors.ErrAbsent, []string{"0s 2", "10s 3"}, 1, 1},
		"absent for all tries": {0, 4, sensors.ErrAbsent, []string{"0s error: no such sensor", "10s 5"}, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				f := &fake{}
				f.read = func(context.Context) (float64, error) {
					time.Sleep(row.takes)
					if n++; n <= row.fails {
						return 0, row.err
					}
					return float64(n), nil
				}
				c := common(10*time.Second, 3*time.Second)
				c.Retries = 3
				got, st := tell(t, f, 19*time.Second, c)
				if diff := cmp.Diff(row.want, got); diff != "" || st.Retries != row.retries || f.opens != row.opens {
					t.Errorf("%d retries, opened %d times, want %d and %d; -want +got:\n%s", st.Retries, f.opens, row.retries, row.opens, diff)
				}
			})
		})
	}
}

// A read that hangs is an error first, and what follows until it returns is stale: nothing has come.
func TestHangingSensorIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		f := &fake{}
		f.read = func(context.Context) (float64, error) {
			if n++; n == 2 {
				time.Sleep(25 * time.Second)
			}
			return float64(n), nil
		}
		got, st := tell(t, f, 45*time.Second, common(10*time.Second, 2*time.Second))
		const hang = ", the sensor or its bus does not answer: timed out"
		want := []string{
			"0s 1", "12.25s of 10s error: the read has been hanging for 2.3s" + hang, "20s stale: the read has been hanging for 10s" + hang,
			"30s stale: the read has been hanging for 20s" + hang, "40s 3",
		}
		if diff := cmp.Diff(want, got); diff != "" || st.Errors != 3 {
			t.Errorf("%d errors; -want +got:\n%s", st.Errors, diff)
		}
	})
}

func TestReadingsCarryTheTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := common(0, 0)
		c.Tags = map[string]string{"site": "north", "line": "3"}
		r, _ := sensors.NewSampler(c, failing(1), nil, nil).Once(t.Context())
		if diff := cmp.Diff([]sensors.Tag{{Key: "line", Value: "3"}, {Key: "site", Value: "north"}}, r.Tags); diff != "" {
			t.Error(diff)
		}
	})
}

func TestUnknownNamesAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := common(time.Second, 0)
		c.Limits = []sensors.Limit{{Sample: "temprature_celsius", AlarmAbove: ptr(80)}}
		s := sensors.NewSampler(c, failing(1), nil, &sensors.SamplerOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.Run(ctx, func(sensors.Reading) {}); err != nil {
			t.Error(err)
		}
		want := "calibration, limits or deadband name temprature_celsius, which this sensor does not measure; it measures temperature_celsius"
		if s.Status().Warning != want || strings.Count(log.String(), "configured in part") != 1 {
			t.Errorf("warning %q, want %q; log:\n%s", s.Status().Warning, want, log.String())
		}
	})
}

// Who sees that a reading took too long is told how long it may take; who sees another error is not.
func TestTimeoutIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{read: func(ctx context.Context) (float64, error) {
			if err := sensors.Wait(ctx, 3*time.Second); err != nil {
				return 0, fmt.Errorf("wait for the conversion: %w", err)
			}
			return 7, nil
		}}
		const wait = "error: wait for the conversion: timed out"
		got, _ := tell(t, f, time.Second, common(10*time.Second, 2*time.Second))
		if diff := cmp.Diff([]string(nil), got); diff != "" { // the stop broke it off
			t.Error(diff)
		}
		got, _ = tell(t, f, 5*time.Second, common(10*time.Second, 2*time.Second))
		want := []string{"2s of 0s " + wait + " (a reading may take 2s here: the timeout of this sensor)"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// A value that only later readings have is no mistake of the configuration.
func TestNamesAreLookedForInSeveralReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := common(10*time.Second, 0)
		c.Limits = []sensors.Limit{{Sample: "flow_hertz", Max: ptr(1)}}
		if _, st := tell(t, &growing{fake: failing(1)}, time.Minute, c); st.Warning != "" {
			t.Error(st.Warning)
		}
	})
}

// growing is a sensor that has a second value from its second reading on.
type growing struct {
	*fake
	reads int
}

func (g *growing) Open(context.Context, sensors.Hardware) (sensors.Sensor, error) { return g, nil }

func (g *growing) Read(ctx context.Context) ([]sensors.Sample, error) {
	samples, err := g.fake.Read(ctx)
	if g.reads++; g.reads > 1 {
		samples = append(samples, sensors.Sample{Name: "flow_hertz", Value: 0.5})
	}
	return samples, err
}

// A wall clock that is set while an aligned sensor runs moves its readings onto the new grid, without a burst or a hole.
func TestAlignedSamplerFollowsTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now() // 2000-01-01T00:00:00Z: not to be believed
		wall := func() time.Time {
			now := time.Now()
			if since := now.Sub(start) - 95*time.Second; since >= 0 {
				return time.Date(2026, 11, 22, 10, 0, 18, 0, time.UTC).Add(since)
			}
			return now
		}
		c := clock.NewWith("boot", wall, func() time.Duration { return time.Since(start) })
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Second)
		defer cancel()
		common := common(time.Minute, 0)
		common.Align, common.Offset = true, quantity.Seconds(5)
		var got []string
		s := sensors.NewSampler(common, failing(1), nil, &sensors.SamplerOptions{Clock: c})
		if err := s.Run(ctx, func(r sensors.Reading) {
			got = append(got, fmt.Sprintf("%v %s", time.Since(start), r.At.Wall.Format("15:04:05")))
		}); err != nil {
			t.Error(err)
		}
		want := []string{"0s 00:00:00", "1m0s 00:01:00", "2m22s 10:01:05", "3m22s 10:02:05", "4m22s 10:03:05"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// A wall clock that is set in the middle of a window ends it: no reading stands for two times of the day.
func TestAWindowEndsWhereTheWallClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		wall := func() time.Time {
			now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC).Add(time.Since(start))
			if time.Since(start) > 25*time.Second {
				now = now.Add(time.Hour)
			}
			return now
		}
		c := common(10*time.Second, 0)
		c.Align, c.Window = true, quantity.Seconds(60)
		ctx, cancel := context.WithTimeout(t.Context(), 55*time.Second)
		defer cancel()
		var counts []int
		s := sensors.NewSampler(c, failing(1), nil, &sensors.SamplerOptions{Clock: clock.NewWith("boot", wall, func() time.Duration { return time.Since(start) })})
		if err := s.Run(ctx, func(r sensors.Reading) { counts = append(counts, r.Window.Count) }); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]int{3, 3}, counts); diff != "" {
			t.Errorf("readings in a window (-want +got):\n%s", diff)
		}
	})
}

func TestOnceCalibratesAndJudgesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := common(0, 0)
		c.Sampling = sensors.Sampling{
			Calibration: []sensors.Calibration{{Sample: "temperature_celsius", Offset: 1}},
			Limits:      []sensors.Limit{{Sample: "temperature_celsius", Max: ptr(85), AlarmAbove: ptr(80)}},
			Window:      quantity.Seconds(60), Deadband: []sensors.Band{{Absolute: 5}}, Jitter: quantity.Seconds(5), Offset: quantity.Seconds(5),
		}
		e := &ear{fake: failing(90)}
		e.open = func(context.Context) error { return nil }
		s := sensors.NewSampler(c, e, nil, &sensors.SamplerOptions{Clock: stopwatch()})
		start := time.Now()
		for range 2 {
			if r, _ := s.Once(t.Context()); told(start, r) != "0s 91 out_of_range: temperature_celsius 91 above max 85" {
				t.Error(told(start, r))
			}
		}
	})
}

// Jitter and slow reads together: one reading each interval, in order.
func TestJitterOfASlowSensor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{read: func(context.Context) (float64, error) { time.Sleep(50 * time.Millisecond); return 1, nil }}
		c := common(100*time.Millisecond, 0)
		c.Jitter = quantity.Duration{Duration: 90 * time.Millisecond}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		n, last := 0, time.Duration(-1)
		err := sensors.NewSampler(c, f, nil, &sensors.SamplerOptions{Clock: stopwatch()}).Run(ctx, func(r sensors.Reading) {
			if n++; r.At.Mono-last < 50*time.Millisecond && last >= 0 {
				t.Errorf("readings at %v and %v", last, r.At.Mono)
			}
			last = r.At.Mono
		})
		if err != nil || n < 990 || n > 1001 {
			t.Errorf("%d readings in 100 s, %v", n, err)
		}
	})
}
