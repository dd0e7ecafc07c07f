package sensors_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

// fake is a configuration and its sensor in one; its hooks are called by one goroutine at a time.
type fake struct {
	open  func(ctx context.Context) error
	read  func(ctx context.Context) (float64, error)
	opens int
	halts int
	busy  sync.Mutex
}

func (f *fake) Validate(func(key, msg string)) {}

func (f *fake) Open(ctx context.Context, _ sensors.Hardware) (sensors.Sensor, error) {
	f.opens++
	if f.open != nil {
		if err := f.open(ctx); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *fake) Read(ctx context.Context) ([]sensors.Sample, error) {
	if !f.busy.TryLock() {
		panic("two reads at once")
	}
	defer f.busy.Unlock()
	v, err := f.read(ctx)
	return []sensors.Sample{{Name: "temperature_celsius", Value: v}}, err
}

func (f *fake) Halt() error { f.halts++; return nil }

func (f *fake) String() string { return "fake@nowhere" }

// got is a reading as the tables write it: when, and its value or the reason it has none.
type got struct {
	At   time.Duration
	What string
}

func short(start time.Time, r sensors.Reading) got {
	g := got{At: time.Since(start), What: r.Reason}
	if r.Quality == sensors.Good {
		g.What = fmt.Sprint(r.Samples[0].Value)
	}
	return g
}

func constant(v float64) func(context.Context) (float64, error) {
	return func(context.Context) (float64, error) { return v, nil }
}

var errBroken = errors.New("broken")

func common(interval, timeout time.Duration) sensors.Common {
	return sensors.Common{
		Name: "boiler", Type: "fake",
		Interval: quantity.Duration{Duration: interval}, Timeout: quantity.Duration{Duration: timeout},
	}
}

// sample runs a sampler for d of virtual time and returns what it emitted, and Run's error.
func sample(t *testing.T, f *fake, d time.Duration, c sensors.Common, o *sensors.SamplerOptions) ([]got, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	start := time.Now()
	var gots []got
	err := sensors.NewSampler(c, f, nil, o).Run(ctx, func(r sensors.Reading) { gots = append(gots, short(start, r)) })
	return gots, err
}

func TestRunKeepsTheGrid(t *testing.T) {
	took := []time.Duration{0, 3 * time.Second, 4 * time.Second, 27 * time.Second, 0, 0}
	want := []got{
		{0, "1"}, {13 * time.Second, "2"}, {24 * time.Second, "3"}, // a slow read does not shift the next
		{57 * time.Second, "4"}, // 40 and 50 were impossible; 60 comes next
		{60 * time.Second, "5"}, {70 * time.Second, "6"},
	}
	synctest.Test(t, func(t *testing.T) {
		n := 0
		f := &fake{}
		f.read = func(context.Context) (float64, error) {
			time.Sleep(took[n])
			n++
			return float64(n), nil
		}
		gots, err := sample(t, f, 75*time.Second, common(10*time.Second, 30*time.Second), nil)
		if diff := cmp.Diff(want, gots); diff != "" || err != nil {
			t.Errorf("Run: %v, readings (-want +got):\n%s", err, diff)
		}
		if f.halts != 1 || f.opens != 1 {
			t.Errorf("opened %d times, halted %d times, want once each", f.opens, f.halts)
		}
	})
}

func TestHangingReadIsReportedEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		f := &fake{}
		f.read = func(context.Context) (float64, error) {
			if reads++; reads == 2 {
				time.Sleep(31 * time.Second) // ignores its deadline
			}
			return float64(reads), nil
		}
		gots, err := sample(t, f, 65*time.Second, common(10*time.Second, 2*time.Second), nil)
		hang := func(d string) string {
			return "the read has been hanging for " + d + ", the sensor or its bus does not answer: timed out"
		}
		want := []got{
			{0, "1"},
			{12250 * time.Millisecond, hang("2.3s")},
			{20 * time.Second, hang("10s")},
			{30 * time.Second, hang("20s")},
			{40 * time.Second, hang("30s")},
			{50 * time.Second, "3"}, // 2 came too late to be a reading
			{60 * time.Second, "4"},
		}
		if diff := cmp.Diff(want, gots); diff != "" || err != nil {
			t.Errorf("Run: %v, readings (-want +got):\n%s", err, diff)
		}
	})
}

func TestStopDoesNotWaitForAHangingRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{read: func(context.Context) (float64, error) { time.Sleep(time.Hour); return 0, nil }}
		start := time.Now()
		gots, err := sample(t, f, 25*time.Second, common(10*time.Second, 0), nil)
		if took := time.Since(start); took > 26*time.Second {
			t.Errorf("Run returned after %s, want within a second of the stop", took)
		}
		if err == nil || !errors.Is(err, sensors.ErrTimeout) {
			t.Errorf("Run: %v, want it to say that a read was left hanging", err)
		}
		if len(gots) != 3 {
			t.Errorf("%d readings, want one an interval: %v", len(gots), gots)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if f.halts != 1 {
			t.Errorf("halted %d times, want once, when the read returned at last", f.halts)
		}
	})
}

func TestAbsentSensorIsOpenedWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{read: constant(1)}
		f.open = func(context.Context) error {
			if f.opens < 12 {
				return fmt.Errorf("fake@nowhere: %w", sensors.ErrAbsent)
			}
			return nil
		}
		gots, err := sample(t, f, 4*time.Minute-time.Millisecond, common(time.Second, 0), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(gots) != 240 {
			t.Errorf("%d readings in 4 minutes, want one a second, failed or not", len(gots))
		}
		if last := gots[len(gots)-1]; last.What != "1" {
			t.Errorf("last reading %q, want a good one: the cap on the wait is 15 s", last.What)
		}
		bad := 0
		for _, g := range gots {
			if g.What == "fake@nowhere: no such sensor" {
				bad++
			}
		}
		if bad < 30 {
			t.Errorf("%d failed readings for 11 failed attempts, want the wait to grow beyond the interval", bad)
		}
	})
}

func TestFailures(t *testing.T) {
	tests := []struct {
		name  string
		read  func(n int) (float64, error)
		want  []string
		opens int
		halts int
	}{
		{
			name:  "plain error, then good",
			read:  func(n int) (float64, error) { return float64(n), map[int]error{1: errBroken}[n] },
			want:  []string{"broken", "2", "3"},
			opens: 1, halts: 1,
		},
		{
			name:  "absent is opened anew",
			read:  func(n int) (float64, error) { return float64(n), map[int]error{1: sensors.ErrAbsent}[n] },
			want:  []string{"no such sensor", "2", "3"},
			opens: 2, halts: 2,
		},
		{
			name: "panic is opened anew",
			read: func(n int) (float64, error) {
				if n == 1 {
					panic("index out of range")
				}
				return float64(n), nil
			},
			want:  []string{"driver panicked; this is a defect of iotagent, please report it: index out of range", "2", "3"},
			opens: 2, halts: 2,
		},
		{
			name:  "not a number",
			read:  func(n int) (float64, error) { return map[int]float64{1: math.NaN(), 2: math.Inf(-1)}[n], nil },
			want:  []string{"temperature_celsius is NaN, which is no measurement", "temperature_celsius is -Inf, which is no measurement", "0"},
			opens: 1, halts: 1,
		},
		{
			name:  "failing for long is opened anew",
			read:  func(n int) (float64, error) { return float64(n), map[bool]error{true: errBroken}[n <= 5] },
			want:  []string{"broken", "broken", "broken", "broken", "broken", "6"},
			opens: 2, halts: 2,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				f := &fake{}
				f.read = func(context.Context) (float64, error) { n++; return tt.read(n) }
				gots, err := sample(t, f, time.Duration(len(tt.want))*10*time.Second-time.Second, common(0, 0), nil)
				if err != nil {
					t.Fatal(err)
				}
				var whats []string
				for _, g := range gots {
					whats = append(whats, g.What)
				}
				if diff := cmp.Diff(tt.want, whats); diff != "" {
					t.Errorf("readings (-want +got):\n%s", diff)
				}
				if f.opens != tt.opens || f.halts != tt.halts {
					t.Errorf("opened %d times and halted %d times, want %d and %d", f.opens, f.halts, tt.opens, tt.halts)
				}
			})
		})
	}
}

func TestLogOnlySaysWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := 0
		f := &fake{}
		f.read = func(context.Context) (float64, error) {
			n++
			if n > 100 && n <= 200 || n > 600 && n%2 == 0 {
				return 0, errBroken
			}
			return 1, nil
		}
		o := &sensors.SamplerOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		if _, err := sample(t, f, 1000*time.Second, common(time.Second, 0), o); err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(log.String(), "\n")
		if lines < 4 || lines > 3+8 {
			t.Errorf("%d lines, want three, and at most one a minute while it flickers:\n%s", lines, log.String())
		}
		for _, want := range []string{`msg="sensor reads" `, `msg="sensor does not read" `, `msg="sensor reads again" `, "device=fake@nowhere", "error=broken"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("log lacks %q:\n%s", want, log.String())
			}
		}
	})
}

// A sensor that fails soon after the start is in the log at once.
func TestFirstFailureIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := 0
		f := &fake{}
		f.read = func(context.Context) (float64, error) {
			if n++; n > 2 {
				return 0, errBroken
			}
			return 1, nil
		}
		o := &sensors.SamplerOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		if _, err := sample(t, f, 10*time.Second, common(time.Second, 0), o); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), `msg="sensor does not read" `) {
			t.Errorf("want that it reads and that it does not:\n%s", log.String())
		}
	})
}

func TestOnceAndStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := false
		f := &fake{read: func(context.Context) (float64, error) {
			time.Sleep(70 * time.Millisecond)
			if fail {
				return 0, errBroken
			}
			return 21.5, nil
		}}
		s := sensors.NewSampler(common(0, 0), f, nil, nil)
		r, took := s.Once(t.Context())
		if r.Quality != sensors.Good || r.Sensor != "boiler" || took != 70*time.Millisecond || f.halts != 1 {
			t.Errorf("Once: %+v, %s, halted %d times", r, took, f.halts)
		}
		if r.At.Mono == 0 || r.At.Wall.IsZero() {
			t.Errorf("the reading has no time: %+v", r.At)
		}
		fail = true
		bad, _ := s.Once(t.Context())
		st := s.Status()
		if diff := cmp.Diff([]any{"boiler", "fake", "fake@nowhere", uint64(2), uint64(1), "broken", 10 * time.Second, 70 * time.Millisecond},
			[]any{st.Name, st.Type, st.Device, st.Readings, st.Errors, st.LastError.Reason, st.Interval, st.Latency}); diff != "" {
			t.Errorf("Status (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]sensors.Reading{bad, r}, []sensors.Reading{st.Last, st.LastGood}); diff != "" {
			t.Errorf("Status (-want +got):\n%s", diff)
		}
		if bad.Samples != nil {
			t.Errorf("a failed reading has samples: %+v", bad)
		}
	})
}
