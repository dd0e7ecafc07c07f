package sensors_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
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

// ear is a Watcher whose channel the test fills.
type ear struct {
	*fake
	events atomic.Value // the channel of the open sensor
}

func (e *ear) Watches() bool { return true }

func (e *ear) channel() chan sensors.Event { return e.events.Load().(chan sensors.Event) }

func (e *ear) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	if _, err := e.fake.Open(ctx, hw); err != nil {
		return nil, err
	}
	events := make(chan sensors.Event, 10)
	e.events.Store(events)
	return &heard{fake: e.fake, events: events}, nil
}

func (e *ear) hears(v float64, reason string) {
	e.channel() <- sensors.Event{At: time.Now(), Samples: []sensors.Sample{{Name: "temperature_celsius", Value: v}}, Reason: reason}
}

// heard is an open ear.
type heard struct {
	*fake
	events chan sensors.Event
}

func (h *heard) Events() <-chan sensors.Event { return h.events }

func (h *heard) Halt() error {
	defer func() { _ = recover() }() // the test closed it
	close(h.events)
	return h.fake.Halt()
}

func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{fake: &fake{}}
		reads := 0
		e.read = func(context.Context) (float64, error) {
			if reads++; reads == 2 {
				time.Sleep(20 * time.Second)
			}
			return 7, nil
		}
		c := common(100*time.Second, 50*time.Second)
		c.Calibration = []sensors.Calibration{{Sample: "temperature_celsius", Offset: 1}}
		c.Limits = []sensors.Limit{{Sample: "temperature_celsius", Max: ptr(50), AlarmAbove: ptr(40)}}
		go func() {
			time.Sleep(10 * time.Second)
			e.hears(1, "rising edge")
			time.Sleep(10 * time.Second)
			e.hears(60, "")
			time.Sleep(90 * time.Second) // while a read is under way
			e.hears(2, "falling edge")
			e.channel() <- sensors.Event{At: time.Now().Add(-time.Second), Reason: "empty"}
		}()
		got, st := tell(t, e, 130*time.Second, c)
		want := []string{
			"0s 8", "10s ALARM 2: rising edge", "20s ALARM 61 out_of_range: noticed between two readings; temperature_celsius 61 above max 50",
			"1m50s ALARM 3: falling edge", "1m50s ALARM of 1m49s error: empty; the driver returned no values", "2m0s of 1m40s 8",
		}
		if diff := cmp.Diff(want, got); diff != "" || st.Alarms != 4 || st.Readings != 2 || e.halts != 1 {
			t.Errorf("%d alarms, %d readings, %d halts; -want +got:\n%s", st.Alarms, st.Readings, e.halts, diff)
		}
	})
}

// The time of what was noticed goes back with it to when it happened, however that time is known.
func TestNoticedWhileTheClockIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, synced := time.Now(), true
		truth := func() time.Time { return time.Now().AddDate(26, 6, 0) }
		wall := truth
		c := clock.Of(&clock.Parts{
			Boot: "boot", Now: func() time.Time { return wall() }, Mono: func() time.Duration { return time.Since(start) }, Synchronised: func() bool { return synced },
		})
		c.Stamp()
		wall, synced = func() time.Time { return truth().Add(-time.Hour) }, false // somebody set it
		e := &ear{fake: &fake{read: func(context.Context) (float64, error) { time.Sleep(time.Second); return 7, nil }}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		go func() {
			time.Sleep(5 * time.Second)
			e.channel() <- sensors.Event{At: time.Now().Add(-3 * time.Second), Samples: []sensors.Sample{{Name: "active_state", Value: 1}}, Reason: "edge"}
		}()
		noticed := 0
		s := sensors.NewSampler(common(time.Hour, 0), e, nil, &sensors.SamplerOptions{Clock: c})
		if err := s.Run(ctx, func(r sensors.Reading) {
			if at, known := r.At.True(); r.Alarm {
				noticed++
				if want := start.AddDate(26, 6, 0).Add(2 * time.Second); !known || !at.Equal(want) || r.At.Mono != 2*time.Second {
					t.Errorf("at %v, %v: %+v", at, known, r.At)
				}
			}
		}); err != nil || noticed != 1 {
			t.Errorf("noticed %d times, %v", noticed, err)
		}
	})
}

// A Watcher whose channel ends is opened anew without waiting for the next tick, with growing waits while that fails. That it fails is told once.
func TestDeafWatcherIsOpenedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{fake: &fake{read: constant(7)}}
		e.open = func(context.Context) error {
			if e.opens > 1 && e.opens < 5 {
				return sensors.ErrAbsent
			}
			return nil
		}
		go func() {
			time.Sleep(10 * time.Second)
			e.hears(1, "the last words")
			close(e.channel())
			time.Sleep(5 * time.Minute)
			e.hears(2, "heard again")
		}()
		got, _ := tell(t, e, 10*time.Minute, common(time.Hour, 0))
		if len(got) != 5 || e.opens != 5 {
			t.Fatalf("opened %d times: %q", e.opens, got)
		}
		if at, rest, _ := strings.Cut(got[2], " "); rest != "error: no such sensor" || at < "10s" || at > "12s" {
			t.Errorf("told is %q", got[2])
		}
		got = slices.Delete(got, 2, 3)
		var back time.Duration
		if n, err := fmt.Sscan(got[2], new(string)); n != 1 || err != nil {
			t.Fatal(err)
		}
		back, err := time.ParseDuration(strings.Fields(got[2])[0])
		if err != nil || back < 14*time.Second || back > 10*time.Second+(2+4+8+16)*time.Second {
			t.Errorf("reads again at %v, %v; want four waits of 1 to 16 s after 10s", back, err)
		}
		got[2] = strings.Join(strings.Fields(got[2])[1:], " ")
		want := []string{"0s 7", "10s ALARM 1: the last words", "7", "5m10s ALARM 2: heard again"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
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

// What is to watch is opened as soon as it is there, also when it was not at the start.
func TestWatcherThatComesLateIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{fake: &fake{read: constant(7)}}
		e.open = func(context.Context) error {
			if e.opens < 4 {
				return sensors.ErrAbsent
			}
			return nil
		}
		go func() {
			time.Sleep(time.Minute)
			e.hears(1, "edge")
		}()
		got, st := tell(t, e, 10*time.Minute, common(time.Hour, 0))
		if len(got) != 3 || e.opens != 4 || got[0] != "0s error: no such sensor" || !strings.HasSuffix(got[1], " 7") || got[2] != "1m0s ALARM 1: edge" {
			t.Errorf("opened %d times: %q", e.opens, got)
		}
		if st.Readings != 4 || st.Errors != 3 {
			t.Errorf("%d readings, %d of them failed", st.Readings, st.Errors)
		}
	})
}

func TestWatcherThatFailsIsHeardAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{fake: &fake{}}
		n := 0
		e.read = func(context.Context) (float64, error) {
			if n++; n == 2 {
				return 0, fmt.Errorf("chip gone: %w", sensors.ErrAbsent) // it is halted, which closes its channel
			}
			return float64(n), nil
		}
		go func() {
			time.Sleep(25 * time.Second)
			e.hears(9, "edge")
		}()
		got, _ := tell(t, e, 29*time.Second, common(10*time.Second, 0))
		if len(got) != 5 || got[1] != "10s error: chip gone: no such sensor" || !strings.HasSuffix(got[2], " 3") || got[4] != "25s ALARM 9: edge" || e.opens != 2 {
			t.Errorf("opened %d times: %q", e.opens, got)
		}
	})
}

func TestStopTellsWhatWasNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{fake: &fake{read: constant(7)}}
		ctx, cancel := context.WithCancel(t.Context())
		var all []string
		start := time.Now()
		s := sensors.NewSampler(common(time.Hour, 0), e, nil, &sensors.SamplerOptions{Clock: stopwatch()})
		go func() {
			time.Sleep(time.Second)
			for range 5 {
				e.hears(1, "edge")
			}
			cancel()
		}()
		if err := s.Run(ctx, func(r sensors.Reading) { all = append(all, told(start, r)) }); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if len(all) != 6 {
			t.Errorf("%q", all)
		}
	})
}

// What a Watcher noticed before it failed is told, though it is halted by then.
func TestLastWordsOfAWatcherThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{fake: &fake{}}
		n := 0
		e.read = func(context.Context) (float64, error) {
			if n++; n == 2 {
				for range 5 {
					e.hears(1, "edge")
				}
				return 0, sensors.ErrAbsent
			}
			return float64(n), nil
		}
		got, st := tell(t, e, 19*time.Second, common(10*time.Second, 0))
		if st.Alarms != 5 {
			t.Errorf("%d alarms: %q", st.Alarms, got)
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
