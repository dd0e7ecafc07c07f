package agent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/agent"
	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/sensors"
)

func celsius(v float64) []sensors.Sample {
	return []sensors.Sample{{Name: "temperature_celsius", Value: v}}
}

// packed is a message of these readings alone.
func packed(t *testing.T, lane outbox.Lane, o agent.PackOptions, readings ...sensors.Reading) outbox.Entry {
	t.Helper()
	b := agent.NewBatch(lane, o)
	for i := range readings {
		if b.Add(&readings[i]) != nil {
			t.Fatal("the readings need a second message")
		}
	}
	return entry(lane, b.Seal().Body, nil)
}

func windows() []sensors.Reading {
	minute := &sensors.Window{
		Span: 50 * time.Second, Count: 6, Func: "mean", More: []sensors.Column{{Func: "min", Samples: celsius(21.4)}, {Func: "max", Samples: celsius(21.6)}},
	}
	return []sensors.Reading{
		{Sensor: "boiler", At: stamp(), Quality: sensors.Good, Samples: celsius(21.53), Window: minute},
		{
			Sensor: "tank", At: stamp(), Quality: sensors.OutOfRange, Reason: "1 of 5 readings: temperature_celsius 91 above max 85", Samples: celsius(20),
			Window: &sensors.Window{Span: 50 * time.Second, Count: 5, Failed: 1, Func: "last", More: []sensors.Column{{Func: "mean", Samples: celsius(34.2)}}},
			Tags:   []sensors.Tag{{Key: "line", Value: "3"}, {Key: "site", Value: "north"}},
		},
		{
			Sensor: "duct", At: stamp(), Quality: sensors.Failed, Reason: "bme280@i2c1:0x76: read: no ack",
			Window: &sensors.Window{Span: 50 * time.Second, Failed: 6, Func: "mean"},
		},
		{
			Sensor: "boiler", At: clock.Stamp{Boot: "b", Mono: 12345 * time.Millisecond}, Quality: sensors.Good, Samples: celsius(21.5),
			Window: &sensors.Window{Span: 7500 * time.Millisecond, Count: 2, Func: "mean"},
		},
	}
}

func TestWindowFormats(t *testing.T) {
	o := agent.PackOptions{MaxLoss: time.Second}
	checkFormat(t, "readings-window.json", show(t, packed(t, outbox.Normal, o, windows()...)))
	checkFormat(t, "readings-window-senml.json", show(t, packed(t, outbox.Normal, senmlOptions(), windows()[1])))

	alarm := sensors.Reading{
		Sensor: "boiler", At: stamp(), Quality: sensors.Good, Reason: "temperature_celsius 81.2 above 80", Samples: celsius(81.2), Alarm: true,
		Tags: []sensors.Tag{{Key: "site", Value: "north"}},
	}
	checkFormat(t, "reading-alarm.json", show(t, packed(t, outbox.Alarm, o, alarm)))
	alarm.Over, alarm.Reason, alarm.Samples = true, "temperature_celsius 77.9 no longer above 80", celsius(77.9)
	checkFormat(t, "reading-alarm-over.json", show(t, packed(t, outbox.Alarm, o, alarm)))
}

// A window of means with its extremes is what thinning makes, so it may be thinned on; what else is said of a window would be lost by that.
func TestThinningOfWindows(t *testing.T) {
	at := func(i int, r sensors.Reading) sensors.Reading {
		r.At.Wall = r.At.Wall.Add(time.Duration(i) * time.Minute)
		return r
	}
	mean, last, failed := windows()[0], windows()[1], windows()[2]
	tagged := mean
	tagged.Tags = last.Tags
	other := mean
	other.Tags = []sensors.Tag{{Key: "site", Value: "south"}}
	for name, row := range map[string]struct {
		readings []sensors.Reading
		want     string
	}{
		"means":      {[]sensors.Reading{mean, at(1, mean)}, `[{"sensor":"boiler","time":"2026-11-22T10:00:00.250Z","to":"2026-11-22T10:01:50.250Z","count":12,"temperature_celsius":21.53,"min":{"temperature_celsius":21.4},"max":{"temperature_celsius":21.6}}]`},
		"tagged":     {[]sensors.Reading{tagged, at(1, tagged)}, `[{"sensor":"boiler","time":"2026-11-22T10:00:00.250Z","to":"2026-11-22T10:01:50.250Z","count":12,"temperature_celsius":21.53,"min":{"temperature_celsius":21.4},"max":{"temperature_celsius":21.6},"tags":{"line":"3","site":"north"}}]`},
		"other tags": {[]sensors.Reading{mean, at(1, other)}, ""},
		"last":       {[]sensors.Reading{last, at(1, last)}, ""},
		"failed":     {[]sensors.Reading{failed, at(1, failed)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := packed(t, outbox.Normal, agent.PackOptions{MaxLoss: time.Second}, row.readings...).Body
			thin := agent.NewThinner([]string{"boiler", "tank", "duct"}, 4096)
			after := apply(t, [][]byte{before}, thin(outbox.Normal, [][]byte{before}))
			got, err := agent.DecodeEnvelope(after[0])
			if err != nil {
				t.Fatal(err)
			}
			if row.want == "" {
				row.want = string(before)
				got.Body = after[0]
			}
			if string(got.Body) != row.want {
				t.Errorf("got  %s\nwant %s", got.Body, row.want)
			}
		})
	}
}

func TestTextsAreEscapedAsJSONWantsIt(t *testing.T) {
	for text, want := range map[string]string{
		"boiler": `"boiler"`, "": `""`, `a "b" \c`: `"a \"b\" \\c"`, "21 °C": `"21 °C"`, "a\nb": `"a\nb"`, "<&>": `"\u003c\u0026\u003e"`, "\xff": `"\ufffd"`,
	} {
		r := sensors.Reading{Sensor: text, At: stamp(), Quality: sensors.Good, Samples: celsius(1)}
		got, _, _ := strings.Cut(strings.TrimPrefix(string(agent.ReadingJSON(&r)), `{"sensor":`), `,"time"`)
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// alarming is a sampler that gives three readings, the second one an alarm.
type alarming struct{}

func (alarming) Name() string { return "boiler" }

func (alarming) Status() sensors.Status { return sensors.Status{} }

func (alarming) Once(context.Context) (sensors.Reading, time.Duration) { return sensors.Reading{}, 0 }

func (alarming) Run(ctx context.Context, emit func(sensors.Reading)) error {
	start := time.Now()
	for i := range 3 {
		emit(sensors.Reading{
			Sensor: "boiler", At: clock.Stamp{Boot: "b", Mono: time.Since(start), Wall: wall(), Trusted: true}, Quality: sensors.Good, Samples: celsius(float64(i)), Alarm: i == 1, Reason: "edge",
		})
	}
	<-ctx.Done()
	return nil
}

func TestAlarmsGoInTheirLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.o.Sources = []agent.Source{{Sampler: alarming{}, Lane: outbox.Bulk}}
		_, stop := b.run()
		b.until(time.Minute, "the readings", func() bool { return len(b.hub.Events()) == 2 })
		if err := stop(); err != nil {
			t.Error(err)
		}
		var got []string
		for _, e := range b.hub.Events() {
			got = append(got, fmt.Sprintf("%v: %d readings, alarm %v", e.Properties["lane"], strings.Count(*e.Body, `"sensor"`), strings.Contains(*e.Body, `"alarm":true`)))
		}
		if diff := cmp.Diff([]string{"alarm: 1 readings, alarm true", "bulk: 2 readings, alarm false"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
