package agent_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iotagent/agent"
	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/sensors"
)

// record is one of a SenML pack, with the fields of RFC 8428 that we use.
type record struct {
	BaseName string   `json:"bn,omitempty"`
	BaseTime *float64 `json:"bt,omitempty"`
	Clock    string   `json:"clock_,omitempty"`
	Mark     string   `json:"clock,omitempty"`
	Name     string   `json:"n,omitempty"`
	Unit     string   `json:"u,omitempty"`
	Time     float64  `json:"t,omitempty"`
	Value    *float64 `json:"v,omitempty"`
	Text     *string  `json:"vs,omitempty"`
	Flag     *bool    `json:"vb,omitempty"`
}

// fact is a record resolved (RFC 8428 §4.6): everything about it in one place.
type fact struct {
	name    string
	millis  int64
	unknown bool
	mark    string
	value   float64
	text    string
}

// resolve reads a pack as a receiver does that knows the RFC and "clock_".
func resolve(t fataler, body []byte) []fact {
	var pack []record
	if err := json.Unmarshal(body, &pack); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	var facts []fact
	var base record
	for _, r := range pack {
		if r.BaseName != "" {
			base.BaseName = r.BaseName
		}
		if r.BaseTime != nil {
			base.BaseTime, base.Clock, base.Mark = r.BaseTime, r.Clock, r.Mark
		}
		f := fact{name: base.BaseName + r.Name, millis: int64(math.Round((*base.BaseTime + r.Time) * 1000)), unknown: base.Clock == "unknown", mark: base.Mark}
		switch {
		case r.Value != nil:
			f.value = *r.Value
		case r.Text != nil:
			f.text = *r.Text
		case r.Flag != nil:
			f.text = fmt.Sprint(*r.Flag)
		default:
			t.Fatalf("a record without a value: %+v", r)
		}
		facts = append(facts, f)
	}
	return facts
}

type fataler interface {
	Fatalf(format string, args ...any)
}

// factsOf is what a receiver has to learn of a reading.
func factsOf(r *sensors.Reading) []fact {
	at := fact{millis: r.At.Wall.UnixMilli()}
	if t, known := r.At.True(); known {
		at.millis = t.UnixMilli()
		if !r.At.Trusted {
			at.mark = "restored"
		}
	} else {
		at.millis, at.unknown = r.At.Mono.Milliseconds(), true
	}
	named := func(name string) fact {
		f := at
		f.name = r.Sensor + "/" + name
		return f
	}
	var facts []fact
	for _, s := range r.Samples {
		f := named(s.Name)
		f.value = s.Value
		facts = append(facts, f)
	}
	for name, text := range map[string]string{"quality": string(r.Quality), "reason": r.Reason} {
		if text != "" && (r.Quality != sensors.Good || r.Alarm && name == "reason") {
			f := named(name)
			f.text = text
			facts = append(facts, f)
		}
	}
	number := func(name string, v float64) {
		f := named(name)
		f.value = v
		facts = append(facts, f)
	}
	word := func(name, text string) {
		f := named(name)
		f.text = text
		facts = append(facts, f)
	}
	if w := r.Window; w != nil {
		number("span_seconds", float64(w.Span.Milliseconds())/1000)
		number("count", float64(w.Count))
		if w.Failed > 0 {
			number("failed_count", float64(w.Failed))
		}
		if w.Func != "mean" {
			word("aggregate", w.Func)
		}
		for _, c := range w.More {
			for _, s := range c.Samples {
				number(s.Name+"_"+c.Func, s.Value)
			}
		}
	}
	if r.Alarm {
		word("alarm", fmt.Sprint(!r.Over))
	}
	for _, tag := range r.Tags {
		word("tag_"+tag.Key, tag.Value)
	}
	return facts
}

func senmlOptions() agent.PackOptions {
	return agent.PackOptions{MaxLoss: time.Second, Format: agent.FormatSenML}
}

func TestSenMLFormat(t *testing.T) {
	second := stamp()
	second.Wall = second.Wall.Add(10 * time.Second)
	readings := []sensors.Reading{
		{Sensor: "tank", At: stamp(), Quality: sensors.Good, Samples: []sensors.Sample{{Name: "temperature_celsius", Value: 21.5}}},
		{Sensor: "tank", At: second, Quality: sensors.Good, Samples: []sensors.Sample{{Name: "temperature_celsius", Value: 21.53}}},
		{Sensor: "boiler", At: second, Quality: sensors.Good, Samples: []sensors.Sample{{Name: "humidity_percent", Value: 40}, {Name: "pressure_pascals", Value: 100653}}},
		{Sensor: "duct", At: second, Quality: sensors.Failed, Reason: "bme280@i2c1:0x76: read: no ack"},
		{Sensor: "tank", At: clock.Stamp{Boot: "b", Mono: 12345 * time.Millisecond}, Quality: sensors.OutOfRange, Reason: "above 80", Samples: []sensors.Sample{{Name: "temperature_celsius", Value: 91}}},
	}
	b := agent.NewBatch(outbox.Normal, senmlOptions())
	for i := range readings {
		if b.Add(&readings[i]) != nil {
			t.Fatal("five readings do not fill a message")
		}
	}
	m := b.Seal()
	checkFormat(t, "readings-senml.json", show(t, entry(outbox.Normal, m.Body, nil)))
	for name, source := range map[string]clock.Source{"restored": clock.Kernel, "unconfirmed": clock.Unconfirmed} {
		known := clock.AnchorsOf("b", clock.Anchor{Mono: time.Minute, Wall: instant(), Source: source})
		checkFormat(t, "readings-senml-"+name+".json", showAt(t, entry(outbox.Normal, m.Body, nil), known))
	}
}

// Whatever is read, a receiver learns it to the last digit, and no message is metered above the limit.
func TestSenMLTellsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(800, 4096).Draw(t, "limit")
		o := senmlOptions()
		o.MaxMessageBytes = limit
		b := agent.NewBatch(outbox.Normal, o)
		want, got := map[fact]int{}, map[fact]int{}
		check := func(m *outbox.Message) {
			if m == nil {
				return
			}
			msg, err := agent.MessageOf(entry(outbox.Normal, m.Body, nil))
			if err != nil {
				t.Fatal(err)
			}
			if msg.Size() > limit && m.Readings > 1 {
				t.Fatalf("a message of %d readings has %d bytes, limit %d", m.Readings, msg.Size(), limit)
			}
			if msg.ContentType != "application/senml+json" || msg.ContentEncoding != "utf-8" {
				t.Fatalf("content type %q, encoding %q", msg.ContentType, msg.ContentEncoding)
			}
			for _, f := range resolve(t, msg.Body) {
				got[f]++
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "readings") {
			r := drawReading(t)
			for _, f := range factsOf(&r) {
				want[f]++
			}
			check(b.Add(&r))
		}
		check(b.Seal())
		for f, n := range want {
			if got[f] != n {
				t.Fatalf("%+v came %d times, want %d", f, got[f], n)
			}
			delete(got, f)
		}
		if len(got) > 0 {
			t.Fatalf("nobody read %+v", got)
		}
	})
}

func drawReading(t *rapid.T) sensors.Reading {
	r := sensors.Reading{
		Sensor: rapid.SampledFrom([]string{"boiler", "tank.2", "a"}).Draw(t, "sensor"), Quality: sensors.Good,
		At: clock.Stamp{Mono: time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "mono")) * time.Millisecond, Trusted: rapid.Bool().Draw(t, "trusted")},
	}
	r.At.Wall = instant().Add(time.Duration(rapid.Int64Range(-1e6, 1e6).Draw(t, "wall")) * time.Millisecond)
	if !r.At.Trusted && rapid.Bool().Draw(t, "restored") {
		r.At.Restored = r.At.Wall
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "samples") {
		unit := rapid.SampledFrom([]string{"celsius", "humidity_percent", "level"}).Draw(t, "unit")
		r.Samples = append(r.Samples, sensors.Sample{Name: fmt.Sprintf("value_%d_%s", i, unit), Value: rapid.Float64().Draw(t, "value")})
	}
	switch rapid.IntRange(0, 5).Draw(t, "quality") {
	case 0:
		r.Quality, r.Reason, r.Samples = sensors.Failed, rapid.StringN(1, 20, 100).Draw(t, "reason"), nil
	case 1:
		r.Quality, r.Reason = sensors.OutOfRange, "above 80"
	}
	return drawMore(t, r)
}

// drawMore makes it a window, an alarm or the reading of a sensor with tags.
func drawMore(t *rapid.T, r sensors.Reading) sensors.Reading {
	if rapid.IntRange(0, 3).Draw(t, "window") == 0 {
		r.Window = &sensors.Window{
			Span: time.Duration(rapid.IntRange(0, 60000).Draw(t, "span")) * time.Millisecond, Failed: rapid.IntRange(0, 2).Draw(t, "failed"),
			Func: rapid.SampledFrom([]string{"mean", "last", "min"}).Draw(t, "func"),
		}
		if len(r.Samples) > 0 {
			r.Window.Count = rapid.IntRange(1, 100).Draw(t, "count")
			r.Window.More = []sensors.Column{{Func: "max", Samples: r.Samples}}
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "alarm") == 0 {
		r.Alarm, r.Over, r.Reason = true, rapid.Bool().Draw(t, "over"), "temperature_celsius 81 above 80"
	}
	if rapid.IntRange(0, 3).Draw(t, "tags") == 0 {
		r.Tags = []sensors.Tag{{Key: "line", Value: "3"}, {Key: "site", Value: rapid.StringN(1, 10, 20).Draw(t, "site")}}
	}
	return r
}

// What a message of 4 KiB holds of a sensor with one value is what decides about the cost of a hub.
func TestReadingsInOneMessage(t *testing.T) {
	for format, least := range map[agent.Format]int{agent.FormatJSON: 45, agent.FormatSenML: 90} {
		b := agent.NewBatch(outbox.Normal, agent.PackOptions{MaxLoss: time.Second, Format: format})
		at := stamp()
		var full *outbox.Message
		for n := 0; full == nil; n++ {
			at.Wall = at.Wall.Add(10*time.Second + 3*time.Millisecond)
			full = b.Add(&sensors.Reading{Sensor: "boiler", At: at, Quality: sensors.Good, Samples: []sensors.Sample{{Name: "temperature_celsius", Value: 21.0625 + float64(n%16)/16}}})
		}
		m, err := agent.MessageOf(entry(outbox.Normal, full.Body, nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d readings in %d metered bytes", format, full.Readings, m.Size())
		if full.Readings < least || m.Size() > 4096 {
			t.Errorf("%s: %d readings in %d bytes, want at least %d in 4096", format, full.Readings, m.Size(), least)
		}
	}
}
