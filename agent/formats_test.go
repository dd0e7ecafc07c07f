package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iotagent/agent"
	"iotagent/c2d"
	"iotagent/internal/clock"
	"iotagent/internal/golden"
	"iotagent/outbox"
	"iotagent/sensors"
)

var update = golden.Update() //nolint:gochecknoglobals // a flag

func instant() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 250e6, time.UTC) }

func stamp() clock.Stamp {
	return clock.Stamp{Boot: "b", Mono: 90*time.Second + 250*time.Millisecond, Wall: instant(), Trusted: true}
}

// wire is a message as docs/formats.md shows it: what stands beside the body, and the body.
type wire struct {
	MessageID       string            `json:"message_id"`
	CorrelationID   string            `json:"correlation_id,omitempty"`
	ContentType     string            `json:"content_type"`
	ContentEncoding string            `json:"content_encoding"`
	Created         string            `json:"iothub-creation-time-utc,omitempty"`
	Properties      map[string]string `json:"properties"`
	Body            json.RawMessage   `json:"body"`
}

func show(t *testing.T, e outbox.Entry) []byte {
	t.Helper()
	return showAt(t, e, nil)
}

func showAt(t *testing.T, e outbox.Entry, known *clock.Anchors) []byte {
	t.Helper()
	m, err := agent.MessageAt(e, known)
	if err != nil {
		t.Fatal(err)
	}
	w := wire{
		MessageID: m.ID, CorrelationID: m.CorrelationID, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding,
		Properties: agent.PropertyMap(m.Properties), Body: m.Body,
	}
	if !m.Created.IsZero() {
		w.Created = m.Created.Format("2006-01-02T15:04:05.000Z")
	}
	return pretty(t, w)
}

func pretty(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func entry(lane outbox.Lane, body []byte, gap *outbox.Gap) outbox.Entry {
	return outbox.Entry{ID: outbox.ID{Epoch: 0x5eed, Lane: lane, Seq: 42}, Body: body, Gap: gap}
}

func checkFormat(t *testing.T, name string, got []byte) {
	t.Helper()
	golden.Check(t, filepath.Join("..", "docs", "formats", name), got, *update)
}

func TestMessageFormats(t *testing.T) {
	readings := []sensors.Reading{
		{Sensor: "boiler", At: stamp(), Quality: sensors.Good, Samples: []sensors.Sample{{Name: "temperature_celsius", Value: 21.5}, {Name: "pressure_pascals", Value: 100653}}},
		{Sensor: "duct", At: stamp(), Quality: sensors.Failed, Reason: "bme280@i2c1:0x76: read: no ack"},
		{Sensor: "meter", At: stamp(), Quality: sensors.Partial, Reason: "modbus@/dev/ttyUSB0 unit 1: incomplete: holding 20: exception 2", Samples: []sensors.Sample{{Name: "power_watts", Value: 1200}}},
		{Sensor: "door \"x\"", At: clock.Stamp{Boot: "b", Mono: 12345 * time.Millisecond}, Quality: sensors.OutOfRange, Reason: "above 80", Samples: []sensors.Sample{{Name: "memory_used_bytes", Value: 2.5e10}, {Name: "ratio", Value: 1e-9}}},
	}
	b := agent.NewBatch(outbox.Normal, agent.PackOptions{MaxLoss: time.Second})
	for i := range readings {
		if b.Add(&readings[i]) != nil {
			t.Fatal("four readings do not fill a message")
		}
	}
	m := b.Seal()
	checkFormat(t, "readings.json", show(t, entry(outbox.Normal, m.Body, nil)))

	for name, source := range map[string]clock.Source{"restored": clock.Kernel, "unconfirmed": clock.Unconfirmed} {
		known := clock.AnchorsOf("b", clock.Anchor{Mono: time.Minute, Wall: instant(), Source: source})
		checkFormat(t, "readings-"+name+".json", showAt(t, entry(outbox.Normal, m.Body, nil), known))
	}

	checkFormat(t, "gap.json", show(t, entry(outbox.Normal, nil, &outbox.Gap{
		Epoch: 0x5eed, Lane: outbox.Normal, From: 7, To: 41, Messages: 35, Readings: 490, Reason: "quota",
	})))

	checkFormat(t, "command-result.json", show(t, entry(outbox.Normal, agent.ResultEnvelope(c2d.Report{
		Command: "restart-plc", MessageID: "8f14e45f", Ended: instant(),
		Result: c2d.Result{Status: c2d.Failed, Code: 3, Detail: "plc does not answer"},
	}).Encode(), nil)))
}

// A message is never metered above the limit, whatever the readings, unless one reading alone is larger.
func TestPackingKeepsTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(600, 8192).Draw(t, "limit")
		lane := outbox.Lane(rapid.IntRange(0, 2).Draw(t, "lane"))
		b := agent.NewBatch(lane, agent.PackOptions{MaxMessageBytes: limit, MaxLoss: time.Second})
		n := rapid.IntRange(1, 200).Draw(t, "readings")
		var packed int
		check := func(m *outbox.Message) {
			packed += m.Readings
			msg, err := agent.MessageOf(entry(lane, m.Body, nil))
			if err != nil {
				t.Fatal(err)
			}
			if msg.Size() > limit && m.Readings > 1 {
				t.Fatalf("a message of %d readings has %d bytes, limit %d", m.Readings, msg.Size(), limit)
			}
			var rs []map[string]any
			if err := json.Unmarshal(msg.Body, &rs); err != nil || len(rs) != m.Readings {
				t.Fatalf("body holds %d readings, said %d: %v", len(rs), m.Readings, err)
			}
		}
		for i := range n {
			r := sensors.Reading{
				Sensor: rapid.StringN(1, 64, 64).Draw(t, "name"), At: stamp(), Quality: sensors.Good,
				Samples: []sensors.Sample{{Name: fmt.Sprintf("value_%d", i), Value: rapid.Float64Range(-1e6, 1e6).Draw(t, "value")}},
			}
			if m := b.Add(&r); m != nil {
				check(m)
			}
		}
		check(b.Seal())
		if packed != n {
			t.Fatalf("%d readings packed of %d", packed, n)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	f.Add((&agent.Envelope{ContentType: "application/json", Created: instant(), Properties: map[string]string{"k": "v"}, Body: []byte("{}")}).Encode())
	f.Add(slotted().Encode())
	f.Add([]byte{})
	f.Add([]byte{2, 0, 0, 0, 0, 0, 1, 'b', 0, 255, 255, 255, 255, 15})
	f.Add([]byte{1, 0, 0, 0, 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := agent.DecodeEnvelope(b)
		if err != nil {
			return
		}
		again, err := agent.DecodeEnvelope(e.Encode())
		if err != nil {
			t.Fatalf("our own encoding: %v", err)
		}
		if !maps.Equal(e.Properties, again.Properties) || !bytes.Equal(e.Body, again.Body) || !e.Created.Equal(again.Created) ||
			e.ContentType != again.ContentType || e.ContentEncoding != again.ContentEncoding || e.CorrelationID != again.CorrelationID {
			t.Fatalf("round trip\n got %+v\nwant %+v", again, e)
		}
		if diff := cmp.Diff(e.Slots, again.Slots); diff != "" {
			t.Fatal(diff)
		}
		known := clock.AnchorsOf("b", clock.Anchor{Mono: time.Minute, Wall: instant(), Source: clock.Kernel})
		if m, err := agent.MessageAt(entry(outbox.Normal, b, nil), known); err != nil || len(m.Body) != len(e.Body) {
			t.Fatalf("%d bytes became %d: %v", len(e.Body), len(m.Body), err)
		}
	})
}

func TestEnvelopeRoundTrip(t *testing.T) {
	want := &agent.Envelope{
		ContentType: "text/plain", ContentEncoding: "utf-8", CorrelationID: "c", Created: instant(),
		Properties: map[string]string{"site": "7", "": "empty key"}, Body: []byte("hello"),
	}
	got, err := agent.DecodeEnvelope(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// wireBytes puts others in place of the bytes on the wire, which depend on how the library cuts its frames.
func wireBytes(text []byte) []byte {
	text = regexp.MustCompile(`(read_bytes": )\d+`).ReplaceAll(text, []byte("${1}1634"))
	text = regexp.MustCompile(`(link_read_bytes_total )\d+`).ReplaceAll(text, []byte("${1}1634"))
	text = regexp.MustCompile(`(link_written_bytes_total )\d+`).ReplaceAll(text, []byte("${1}4519"))
	return regexp.MustCompile(`(read_bytes": 1634,\s+"written_bytes": )\d+`).ReplaceAll(text, []byte("${1}4519"))
}

func TestStatusFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.o.Version = "1.0.0"
		b.o.Sources = []agent.Source{{Sampler: &fakeSensor{name: "boiler", clock: b.o.Clock}, Lane: outbox.Normal}}
		a, stop := b.run()
		b.until(time.Minute, "a message", func() bool { return b.hub.Accepted() == 1 })
		synctest.Wait()
		s := a.Status()
		checkFormat(t, "status.json", wireBytes(pretty(t, s)))
		checkFormat(t, "control-status.json", wireBytes(controlTalk(t, a, `{"op":"status"}`)))
		checkFormat(t, "control-put.json", controlTalk(t, a, `{"op":"put","messages":[{"lane":"alarm","properties":{"site":"7"},"content_type":"text/plain","body":"aGVsbG8="}]}`))
		checkFormat(t, "control-error.json", controlTalk(t, a, `{"op":"put","messages":[{"lane":"fast","body":""}]}`))
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
