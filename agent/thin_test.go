package agent_test

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iotagent/agent"
	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/sensors"
)

// pack makes messages of readings as the packer does, sealing where it is full and wherever seal says so.
func pack(o agent.PackOptions, rs []sensors.Reading, seal func(i int) bool) [][]byte {
	b := agent.NewBatch(outbox.Normal, o)
	var run [][]byte
	add := func(m *outbox.Message) {
		if m != nil {
			run = append(run, m.Body)
		}
	}
	for i := range rs {
		add(b.Add(&rs[i]))
		if seal(i) {
			add(b.Seal())
		}
	}
	add(b.Seal())
	return run
}

// apply does what an outbox does with the word of a Thinner.
func apply(t interface{ Fatalf(string, ...any) }, run [][]byte, out []outbox.Thinned) [][]byte {
	var next [][]byte
	i := 0
	for _, th := range out {
		switch {
		case th.Messages < 1 || i+th.Messages > len(run):
			t.Fatalf("stands for %d messages at %d of %d", th.Messages, i, len(run))
		case th.Body != nil:
			next = append(next, th.Body)
		case th.Messages != 1:
			t.Fatalf("no body for %d messages", th.Messages)
		default:
			next = append(next, run[i])
		}
		i += th.Messages
	}
	if i != len(run) {
		t.Fatalf("stands for %d messages of %d", i, len(run))
	}
	return next
}

// said is one object of a message of readings, read by somebody else's decoder.
type said struct {
	raw      string
	sensor   string
	time, to string
	count    int
	values   map[string]float64
	min, max map[string]float64
	quality  string
	clock    string
}

func readAll(t interface{ Fatalf(string, ...any) }, run [][]byte) []said {
	var all []said
	for _, body := range run {
		e, err := agent.DecodeEnvelope(body)
		if err != nil || len(e.Properties) > 0 || e.Slots != nil { // times that are not known yet: it stays as it is
			all = append(all, said{raw: string(body)})
			continue
		}
		var objects []json.RawMessage
		if err := json.Unmarshal(e.Body, &objects); err != nil {
			t.Fatalf("body: %v\n%s", err, e.Body)
		}
		for _, o := range objects {
			all = append(all, readOne(t, o))
		}
	}
	return all
}

func readOne(t interface{ Fatalf(string, ...any) }, o json.RawMessage) said {
	var m map[string]any
	var known struct {
		Sensor, Time, To, Quality, Clock string
		Count                            int
		Min, Max                         map[string]float64
	}
	if err := json.Unmarshal(o, &m); err != nil {
		t.Fatalf("reading: %v\n%s", err, o)
	}
	if err := json.Unmarshal(o, &known); err != nil {
		t.Fatalf("reading: %v\n%s", err, o)
	}
	s := said{
		raw: string(o), sensor: known.Sensor, time: known.Time, to: known.To, count: max(known.Count, 1),
		values: map[string]float64{}, min: known.Min, max: known.Max, quality: known.Quality, clock: known.Clock,
	}
	for k, v := range m {
		if f, ok := v.(float64); ok && k != "count" {
			s.values[k] = f
		}
	}
	if s.to == "" {
		s.to, s.min, s.max = s.time, s.values, s.values
	}
	return s
}

// checkThinned compares what is left of the sensors that opted in with what was there, and everything else byte for byte.
func checkThinned(t interface{ Fatalf(string, ...any) }, before, after []said, opted []string) {
	rest := func(all []said) (texts []string) {
		for _, s := range all {
			if !slices.Contains(opted, s.sensor) {
				texts = append(texts, s.raw)
			}
		}
		return texts
	}
	if b, a := rest(before), rest(after); !slices.Equal(b, a) {
		t.Fatalf("what did not opt in changed:\nbefore %s\nafter  %s", b, a)
	}
	for _, name := range opted {
		of := func(all []said) []said {
			return slices.DeleteFunc(slices.Clone(all), func(s said) bool { return s.sensor != name })
		}
		left := of(before)
		for _, s := range of(after) {
			if s.count > len(left) {
				t.Fatalf("%s stands for more readings than there are", s.raw)
			}
			checkOne(t, left[:s.count], s)
			left = left[s.count:]
		}
		if len(left) > 0 {
			t.Fatalf("%d readings of %s are not accounted for", len(left), name)
		}
	}
}

// checkOne says whether s is what the readings come to.
func checkOne(t interface{ Fatalf(string, ...any) }, of []said, s said) {
	if len(of) == 1 {
		if of[0].raw != s.raw {
			t.Fatalf("a reading alone changed:\n%s\n%s", of[0].raw, s.raw)
		}
		return
	}
	if s.time != of[0].time || s.to != of[len(of)-1].to {
		t.Fatalf("%s does not cover %s to %s", s.raw, of[0].time, of[len(of)-1].to)
	}
	if len(s.values) != len(of[0].values) {
		t.Fatalf("%s has other measurements than %s", s.raw, of[0].raw)
	}
	for name, mean := range s.values {
		low, high, sum := math.Inf(1), math.Inf(-1), 0.0
		for _, r := range of {
			v, ok := r.values[name]
			if !ok || r.quality != s.quality || r.clock != s.clock {
				t.Fatalf("%s holds %s", s.raw, r.raw)
			}
			low, high, sum = min(low, v), max(high, v), sum+v/float64(len(of))
		}
		if s.min[name] != low || s.max[name] != high {
			t.Fatalf("%s: %s is from %v to %v", s.raw, name, low, high)
		}
		if far := math.Abs(mean - sum); far > 1e-10*max(math.Abs(low), math.Abs(high)) || mean < low || mean > high {
			t.Fatalf("%s: the mean of %s is %v", s.raw, name, sum)
		}
	}
}

// drawReadings makes readings of four sensors: two opt in, one does not, of one the time is now and then not known yet. Some times are restored, and now and then the clock goes back.
func drawReadings(t *rapid.T) []sensors.Reading {
	var rs []sensors.Reading
	at := instant()
	number := rapid.OneOf(
		rapid.Map(rapid.IntRange(-400, 1250), func(n int) float64 { return float64(n) / 10 }), rapid.Float64(), rapid.Just(21.5))
	for range rapid.IntRange(0, 100).Draw(t, "readings") {
		at = at.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "step")) * time.Millisecond)
		if rapid.IntRange(0, 50).Draw(t, "jump") == 0 {
			at = at.Add(-time.Hour)
		}
		r := sensors.Reading{
			Sensor: rapid.SampledFrom([]string{"a", "b", "other", "lost"}).Draw(t, "sensor"), Quality: sensors.Good,
			At: clock.Stamp{Wall: at, Trusted: true},
		}
		switch r.At.Trusted = r.Sensor != "lost" || rapid.Bool().Draw(t, "trusted"); {
		case !r.At.Trusted && rapid.IntRange(0, 3).Draw(t, "slot") > 0, rapid.IntRange(0, 20).Draw(t, "restored") == 0:
			r.At.Trusted, r.At.Restored = false, at
		}
		switch rapid.IntRange(0, 20).Draw(t, "kind") {
		case 0:
			r.Quality, r.Reason = sensors.Failed, rapid.SampledFrom([]string{"", `no "ack"`, "too hot"}).Draw(t, "reason")
		case 1:
			r.Quality, r.Reason = sensors.OutOfRange, "above 80"
			fallthrough
		default:
			r.Samples = append(r.Samples, sensors.Sample{Name: "temperature_celsius", Value: number.Draw(t, "value")})
			if r.Sensor == "b" {
				r.Samples = append(r.Samples, sensors.Sample{Name: "size_bytes", Value: float64(rapid.Int64Range(0, 1<<40).Draw(t, "size"))})
			}
		}
		rs = append(rs, r)
	}
	return rs
}

// Whatever is thinned, however often and in whatever pieces: each reading that opted in is inside exactly one that is left, and
// everything else is as it was.
func TestThinningKeepsTheSense(t *testing.T) {
	opted := []string{"a", "b", "lost"}
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(600, 5000).Draw(t, "limit")
		run := pack(agent.PackOptions{MaxMessageBytes: limit, MaxLoss: time.Second}, drawReadings(t),
			func(int) bool { return rapid.IntRange(0, 8).Draw(t, "seal") == 0 })
		for range rapid.IntRange(0, 3).Draw(t, "strangers") {
			stranger := (&agent.Envelope{ContentType: "application/json", Properties: map[string]string{"kind": "x"}, Body: []byte(`[{"sensor":"a"}]`)}).Encode()
			if rapid.Bool().Draw(t, "damaged") {
				stranger = []byte("damaged")
			}
			run = slices.Insert(run, rapid.IntRange(0, len(run)).Draw(t, "place"), stranger)
		}
		thin := agent.NewThinner(opted, limit)
		before := readAll(t, run)
		for range 3 {
			var next [][]byte
			for len(run) > 0 {
				piece := run[:rapid.IntRange(1, len(run)).Draw(t, "piece")]
				out := thin(outbox.Normal, piece)
				next = append(next, apply(t, piece, out)...)
				checkSizes(t, limit, out)
				run = run[len(piece):]
			}
			run = next
			checkThinned(t, before, readAll(t, run), opted)
		}
	})
}

func checkSizes(t *rapid.T, limit int, out []outbox.Thinned) {
	for _, th := range out {
		if th.Body == nil {
			continue
		}
		last := ^uint64(0)
		m, err := agent.MessageOf(outbox.Entry{ID: outbox.ID{Epoch: last, Lane: outbox.Normal, Seq: last}, First: last - 1, Body: th.Body})
		if err != nil {
			t.Fatal(err)
		}
		objects, ok := agent.JSONObjects(m.Body)
		if !ok || m.Size() > limit && len(objects) > 1 {
			t.Fatalf("%d readings in %d bytes, limit %d", len(objects), m.Size(), limit)
		}
		var n uint64
		for _, o := range objects {
			n += agent.ReadingCount(o)
		}
		if n != uint64(th.Readings) {
			t.Fatalf("says %d readings, stands for %d", th.Readings, n)
		}
	}
}

// slow makes n readings of each of some slowly changing sensors, one a second.
func slow(sensorCount, n int) []sensors.Reading {
	var rs []sensors.Reading
	for i := range n {
		for s := range sensorCount {
			v := 20 + float64(s) + 3*math.Sin(float64(i)/900+float64(s)) + float64((i*7919+s*104729)%7)/50
			rs = append(rs, sensors.Reading{
				Sensor: fmt.Sprintf("sensor-%d", s), Quality: sensors.Good, At: clock.Stamp{Wall: instant().Add(time.Duration(i) * time.Second), Trusted: true},
				Samples: []sensors.Sample{
					{Name: "temperature_celsius", Value: math.Round(v*100) / 100},
					{Name: "pressure_pascals", Value: math.Round(100000 + v*10)},
				},
			})
		}
	}
	return rs
}

func names(n int) (all []string) {
	for s := range n {
		all = append(all, fmt.Sprintf("sensor-%d", s))
	}
	return all
}

func bytesOf(run [][]byte) (n int) {
	for _, b := range run {
		n += len(b)
	}
	return n
}

// deflated is what the run takes when it is compressed in blocks, as the outbox does it on the disk.
func deflated(run [][]byte) int {
	var out bytes.Buffer
	for len(run) > 0 {
		w, _ := flate.NewWriter(&out, 6) // no error at this level
		for size := 0; len(run) > 0 && size < 32<<10; run = run[1:] {
			_, _ = w.Write(run[0]) // a buffer takes all
			size += len(run[0])
		}
		_ = w.Close()
	}
	return out.Len()
}

// Each call gets its input down to about a ninth, thinned readings too, and the messages stay full.
func TestThinningShrinks(t *testing.T) {
	for _, count := range []int{1, 3, 10, 60} {
		t.Run(fmt.Sprint(count, " sensors"), func(t *testing.T) {
			thin := agent.NewThinner(names(count), 0)
			run := pack(agent.PackOptions{MaxLoss: time.Second}, slow(count, max(4800/count, 120)), func(i int) bool { return i%(5*count) == 5*count-1 })
			for pass := range 2 {
				next := apply(t, run, thin(outbox.Bulk, run))
				before, after := bytesOf(run), bytesOf(next)
				t.Logf("pass %d: %d bytes in %d messages to %d in %d: %.1f; deflated %.1f", pass+1, before, len(run), after, len(next),
					float64(before)/float64(after), float64(deflated(run))/float64(deflated(next)))
				if after > before/6 {
					t.Errorf("pass %d: %d bytes to %d", pass+1, before, after)
				}
				if full := after / len(next); full < 2000 && len(next) > 3 {
					t.Errorf("pass %d: messages of %d bytes", pass+1, full)
				}
				run = next
			}
		})
	}
}

func TestThinnedFormat(t *testing.T) {
	rs := slow(2, 40)
	for i := range rs {
		rs[i].Sensor = []string{"boiler", "duct"}[i%2]
		if i%2 == 1 && i > 40 {
			rs[i].Quality, rs[i].Reason, rs[i].Samples = sensors.Failed, "bme280@i2c1:0x76: read: no ack", nil
		}
	}
	run := pack(agent.PackOptions{MaxLoss: time.Second}, rs, func(i int) bool { return i%10 == 9 })
	out := agent.NewThinner([]string{"boiler", "duct"}, 0)(outbox.Normal, run)
	if len(out) != 1 || out[0].Messages != len(run) || out[0].Readings != len(rs) {
		t.Fatalf("got %d messages, the first for %d with %d readings", len(out), out[0].Messages, out[0].Readings)
	}
	e := entry(outbox.Normal, out[0].Body, nil)
	e.First = e.ID.Seq - uint64(len(run)) + 1
	checkFormat(t, "readings-thinned.json", show(t, e))
}

func TestNothingToThin(t *testing.T) {
	if agent.NewThinner(nil, 0) != nil {
		t.Error("a thinner for no sensor")
	}
	run := pack(agent.PackOptions{MaxLoss: time.Second}, slow(1, 100), func(i int) bool { return i%5 == 4 })
	unchanged := func(lane outbox.Lane, sensor string, run [][]byte) {
		t.Helper()
		for _, th := range agent.NewThinner([]string{sensor}, 0)(lane, run) {
			if th.Messages != 1 || th.Body != nil {
				t.Errorf("%s %s: %+v", lane, sensor, th)
			}
		}
	}
	unchanged(outbox.Alarm, "sensor-0", run)
	unchanged(outbox.Normal, "sensor", run)
	unchanged(outbox.Normal, "sensor-0", run[:0])
	var strange [][]byte
	for _, body := range []string{
		``, `[`, `{}`, `[]`, `[1]`, `[{}]`, `[{"sensor":"sensor-0"}]`, `[{"sensor":"sensor-\u0030","time":"2026-11-22T10:00:00.000Z","v":1}]`,
		`[{"sensor":"sensor-0","time":"2026-11-22T10:00:00.000Z","v":"text"}]`, `[{"sensor":"sensor-0","time":"2026-11-22","v":1}]`,
		`[{"sensor":"sensor-0", "time":"2026-11-22T10:00:00.000Z","v":1}]`, `[{"sensor":"sensor-0","time":"2026-11-22T10:00:00.000Z","v":1e999}]`,
		`[{"sensor":"sensor-0","time":"2026-11-22T10:00:00.000Z","count":3,"v":1}]`,
		`[{"sensor":"sensor-0","time":"2026-11-22T10:00:00.000Z","to":"2026-11-22T10:00:01.000Z","count":0,"v":1,"min":{"v":1},"max":{"v":1}}]`,
		`[{"sensor":"sensor-0","time":"2026-11-22T10:00:00.000Z","to":"2026-11-22T10:00:01.000Z","count":2,"v":1,"min":{"w":1},"max":{"v":1}}]`,
		`[{"sensor":"sensor-0","time":"2026-11-22T10:00:02.000Z","to":"2026-11-22T10:00:01.000Z","count":2,"v":1,"min":{"v":1},"max":{"v":1}}]`,
	} {
		e := (&agent.Envelope{ContentType: "application/json", ContentEncoding: "utf-8", Body: []byte(body)}).Encode()
		strange = append(strange, e, e, e)
	}
	unchanged(outbox.Normal, "sensor-0", strange)
	e, err := agent.DecodeEnvelope(run[0])
	if err != nil {
		t.Fatal(err)
	}
	e.CorrelationID = "c"
	unchanged(outbox.Normal, "sensor-0", [][]byte{e.Encode(), e.Encode()})
}

// A result that is not larger than the readings is the only one made.
func TestThinningNeverGrows(t *testing.T) {
	rs := slow(1, 2)
	run := pack(agent.PackOptions{MaxLoss: time.Second}, rs, func(int) bool { return true })
	out := agent.NewThinner(names(1), 0)(outbox.Normal, run)
	if next := apply(t, run, out); bytesOf(next) > bytesOf(run) {
		t.Errorf("%d bytes became %d", bytesOf(run), bytesOf(next))
	}
}
