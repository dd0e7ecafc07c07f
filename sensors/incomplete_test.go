package sensors_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

func TestIncomplete(t *testing.T) {
	some := []sensors.Sample{{Name: "a", Value: 1}}
	if got, err := sensors.Incomplete(some, nil); err != nil || len(got) != 1 {
		t.Errorf("nothing missing: %v, %v", got, err)
	}
	missing := []error{errors.New("b is gone"), fmt.Errorf("c: %w", errBroken)}
	got, err := sensors.Incomplete(some, missing)
	if len(got) != 1 || !errors.Is(err, sensors.ErrIncomplete) || !errors.Is(err, errBroken) || err.Error() != "incomplete: b is gone; c: broken" {
		t.Errorf("some missing: %v, %v", got, err)
	}
	got, err = sensors.Incomplete(nil, missing)
	if got != nil || errors.Is(err, sensors.ErrIncomplete) || !errors.Is(err, errBroken) {
		t.Errorf("all missing: %v, %v", got, err)
	}
}

// inPart has values, but says that others are missing from its second reading on, until its fifth.
func inPart() *fake {
	n := 0
	return &fake{read: func(context.Context) (float64, error) {
		if n++; n > 1 && n < 5 {
			return float64(80 + n), fmt.Errorf("%w: x: %w", sensors.ErrIncomplete, sensors.ErrAbsent)
		}
		return float64(80 + n), nil
	}}
}

// What a driver has beside an ErrIncomplete is delivered with the reason: the sensor is neither read again nor opened anew for it.
func TestPartialReadings(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*sensors.Common)
		want   []string
	}{
		"plain": {func(*sensors.Common) {}, []string{
			"0s 81", "1s 82 partial: incomplete: x: no such sensor", "2s 83 partial: incomplete: x: no such sensor",
			"3s 84 partial: incomplete: x: no such sensor", "4s 85",
		}},
		"deadband": {func(c *sensors.Common) { c.Deadband = []sensors.Band{{Absolute: 10}} }, []string{
			"0s 81", "1s 82 partial: incomplete: x: no such sensor", "4s 85",
		}},
		"out of range": {func(c *sensors.Common) { c.Limits = []sensors.Limit{{Sample: "temperature_celsius", Max: ptr(83.5)}} }, []string{
			"0s 81", "1s 82 partial: incomplete: x: no such sensor", "2s 83 partial: incomplete: x: no such sensor",
			"3s 84 out_of_range: temperature_celsius 84 above max 83.5; incomplete: x: no such sensor", "4s 85 out_of_range: temperature_celsius 85 above max 83.5",
		}},
		"window": {func(c *sensors.Common) { c.Window = quantity.Duration{Duration: 5 * time.Second} }, []string{
			"4s of 0s 83 mean of 5 over 4s partial: 3 of 5 readings: incomplete: x: no such sensor",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, c := inPart(), common(time.Second, 0)
				c.Retries = 3
				row.change(&c)
				got, st := tell(t, f, 4500*time.Millisecond, c)
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if f.opens != 1 || st.Retries != 0 || st.Errors != 0 || len(st.LastGood.Samples) != 1 {
					t.Errorf("opened %d times; %+v", f.opens, st)
				}
			})
		})
	}
}

func TestPartialReadingsAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := 0
		f := &fake{read: func(context.Context) (float64, error) {
			if n++; n > 100 && n < 200 {
				return 1, fmt.Errorf("%w: x", sensors.ErrIncomplete)
			}
			return 1, nil
		}}
		if _, err := sample(t, f, 300*time.Second, common(time.Second, 0), &sensors.SamplerOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[1], `msg="sensor reads in part" `) || !strings.Contains(lines[1], `error="incomplete: x"`) ||
			!strings.Contains(lines[2], `msg="sensor reads again" `) {
			t.Errorf("log:\n%s", log.String())
		}
	})
}
