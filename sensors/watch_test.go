package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/internal/clock"
	"iotagent/sensors"
)

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
