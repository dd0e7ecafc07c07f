package agent_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iotagent/agent"
	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/sensors"
)

// gateway is a machine with a wall clock that goes wrong and is set right, and the daemons that run on it one after the other.
type gateway struct {
	path   string
	boots  int
	now    time.Time     // the true one
	up     time.Duration // since boot
	off    time.Duration // by how much the wall clock is ahead
	synced bool
	clock  *clock.Clock
}

func (g *gateway) restart() {
	g.clock = clock.Of(&clock.Parts{
		Boot: fmt.Sprint("boot-", g.boots), Now: func() time.Time { return g.now.Add(g.off) }, Mono: func() time.Duration { return g.up },
		Synchronised: func() bool { return g.synced }, Anchors: clock.OpenAnchors(g.path),
	})
}

func (g *gateway) reboot(off time.Duration) {
	g.boots, g.up, g.off, g.synced = g.boots+1, time.Second, off, false
	g.restart()
}

// change is what becomes of the wall clock and of what is known of it: mostly nothing.
func (g *gateway) change(t *rapid.T, offs *rapid.Generator[time.Duration]) {
	switch rapid.SampledFrom([]string{"", "", "", "sync", "set", "silent", "assume"}).Draw(t, "change") {
	case "sync":
		g.off, g.synced = 0, true
	case "set":
		g.off, g.synced = offs.Draw(t, "off"), false
	case "silent":
		g.synced = false
	case "assume": // another message is sent
		_ = g.clock.Assume()
	}
}

// queuedMessage is a message of some readings and what was sent of it first.
type queuedMessage struct {
	format agent.Format
	body   []byte
	truth  []time.Time
	sent   []byte
}

func (m *queuedMessage) bytes(t *rapid.T, g *gateway) []byte {
	msg, err := agent.MessageAt(entry(outbox.Normal, m.body, nil), g.clock.Anchors())
	if err != nil {
		t.Fatal(err)
	}
	return append(append([]byte(msg.Created.String()), '\n'), msg.Body...)
}

// timed is what a receiver learns of a reading's time.
type timed struct {
	Time   *time.Time
	Clock  string
	Uptime *float64 `json:"uptime_seconds"`
}

// times reads a body with somebody else's decoder.
func (m *queuedMessage) times(t *rapid.T, body []byte) (all []timed) {
	if m.format == agent.FormatSenML {
		return senmlTimes(t, body)
	}
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return all
}

func senmlTimes(t *rapid.T, body []byte) (all []timed) {
	for _, f := range resolve(t, body) {
		at, uptime := time.UnixMilli(f.millis).UTC(), float64(f.millis)/1000
		x := timed{Time: &at, Clock: f.mark}
		if f.unknown {
			x = timed{Clock: "unknown", Uptime: &uptime}
		}
		all = append(all, x)
	}
	return all
}

// Whatever the clocks do, however often daemon and machine start anew, and whenever the anchors come: a message that was sent has the same bytes when it is sent
// again, and a time that is not marked as doubtful is right within a second.
func TestTimesThroughAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &gateway{path: filepath.Join(temporary(t), "clock.json"), now: instant()}
		offs := rapid.SampledFrom([]time.Duration{0, -3 * time.Hour, 40 * time.Minute, 300 * time.Millisecond, -56 * 365 * 24 * time.Hour})
		g.reboot(offs.Draw(t, "off"))
		var queue []*queuedMessage
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 2e6).Draw(t, "ms")) * time.Millisecond
				g.now, g.up = g.now.Add(d), g.up+d
			},
			"change": func(t *rapid.T) { g.change(t, offs) },
			"hub": func(t *rapid.T) {
				at := g.now.Add(time.Duration(rapid.IntRange(-550, 550).Draw(t, "off")) * time.Millisecond)
				g.clock.Compare(at, 550*time.Millisecond)
			},
			"keep":    func(*rapid.T) { _, _ = g.clock.Keep() },
			"restart": func(*rapid.T) { g.restart() },
			"reboot":  func(t *rapid.T) { g.reboot(offs.Draw(t, "off")) },
			"read": func(t *rapid.T) {
				m := &queuedMessage{format: rapid.SampledFrom([]agent.Format{agent.FormatJSON, agent.FormatSenML}).Draw(t, "format")}
				b := agent.NewBatch(outbox.Normal, agent.PackOptions{MaxLoss: time.Second, Format: m.format})
				for range 4 { // in which the clock may be set, and the time become known
					g.change(t, offs)
					b.Add(&sensors.Reading{Sensor: "s", At: g.clock.Stamp(), Quality: sensors.Good, Samples: []sensors.Sample{{Name: "v", Value: 1}}})
					m.truth = append(m.truth, g.now)
					d := time.Duration(rapid.IntRange(0, 1).Draw(t, "ms")) * time.Millisecond
					g.now, g.up = g.now.Add(d), g.up+d
				}
				m.body = b.Seal().Body
				queue = append(queue, m)
			},
			"send": func(t *rapid.T) {
				if len(queue) == 0 {
					t.Skip("nothing waits: the model takes another step")
				}
				if anchored, err := g.clock.Keep(); err != nil || !anchored && g.clock.Assume() != nil {
					t.Fatal(err)
				}
				m := rapid.SampledFrom(queue).Draw(t, "message")
				if m.sent == nil {
					m.sent = m.bytes(t, g)
				}
			},
			"": func(t *rapid.T) {
				for _, m := range queue {
					if m.sent != nil {
						checkSent(t, g, m)
					}
				}
			},
		})
	})
}

func checkSent(t *rapid.T, g *gateway, m *queuedMessage) {
	if again := m.bytes(t, g); !bytes.Equal(again, m.sent) {
		t.Fatalf("sent as\n%s\nand again as\n%s", m.sent, again)
	}
	header, body, _ := bytes.Cut(m.sent, []byte("\n"))
	all := m.times(t, body)
	if len(all) != len(m.truth) {
		t.Fatalf("%d readings of %d: %s", len(all), len(m.truth), body)
	}
	last := len(all) - 1
	created, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", string(header))
	if mark := all[last].Clock; err != nil || mark != "unknown" && mark != "unconfirmed" && created.Sub(m.truth[last]).Abs() > time.Second+2*time.Millisecond {
		t.Fatalf("created %s, the last reading %s (%v): %s", header, m.truth[last], err, body)
	}
	for i, r := range all {
		switch {
		case r.Clock == "unknown":
			if r.Time != nil || r.Uptime == nil {
				t.Fatalf("%s", body)
			}
		case r.Time == nil || r.Uptime != nil:
			t.Fatalf("%s", body)
		case r.Clock != "unconfirmed" && r.Time.Sub(m.truth[i]).Abs() > time.Second+2*time.Millisecond: // SenML's times are sums of two that are rounded
			t.Fatalf("%v off, %q: %s", r.Time.Sub(m.truth[i]), r.Clock, body)
		}
	}
}

// temporary is a directory for one run of a property.
func temporary(t *rapid.T) string {
	dir, err := os.MkdirTemp("", "clock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Every text has room in its slot, so that a message never changes its size.
func TestSlotsHaveRoom(t *testing.T) {
	for _, format := range []agent.Format{agent.FormatJSON, agent.FormatSenML} {
		for _, mono := range []time.Duration{0, 1, time.Second, 40 * 365 * 24 * time.Hour} {
			b := agent.NewBatch(outbox.Normal, agent.PackOptions{MaxLoss: time.Second, Format: format})
			b.Add(&sensors.Reading{Sensor: "s", At: clock.Stamp{Boot: "b", Mono: mono}, Quality: sensors.Good, Samples: []sensors.Sample{{Name: "v", Value: 1}}})
			sizes := sizesOf(t, entry(outbox.Normal, b.Seal().Body, nil), mono)
			if len(sizes) != 1 {
				t.Errorf("%s, %v: %v", format, mono, sizes)
			}
		}
	}
}

// sizesOf returns the bodies that a message may have, by their sizes.
func sizesOf(t *testing.T, e outbox.Entry, mono time.Duration) map[int]string {
	t.Helper()
	sizes := map[int]string{}
	for _, known := range []*clock.Anchors{
		nil, clock.AnchorsOf("other", clock.Anchor{Wall: instant(), Source: clock.Kernel}),
		clock.AnchorsOf("b", clock.Anchor{Mono: mono, Wall: instant(), Source: clock.Kernel}),
		clock.AnchorsOf("b", clock.Anchor{Mono: mono, Wall: instant(), Source: clock.Unconfirmed}),
		clock.AnchorsOf("b", clock.Anchor{Mono: mono, Source: clock.Unknown}),
	} {
		m, err := agent.MessageAt(e, known)
		if err != nil {
			t.Fatal(err)
		}
		if err := conforms(schema(t, m.ContentType), m.Body); err != nil {
			t.Errorf("%v: %s", err, m.Body)
		}
		sizes[len(m.Body)] = string(m.Body)
	}
	return sizes
}

func slotted() *agent.Envelope {
	return &agent.Envelope{
		ContentType: "application/json", ContentEncoding: "utf-8", Body: []byte(`[{` + strings.Repeat(" ", 55) + `},{` + strings.Repeat(" ", 55) + `}]`),
		Slots: &agent.Slots{Boot: "b", Created: 90 * time.Second, At: []agent.Slot{{Offset: 2, Kind: 1, Mono: time.Second}, {Offset: 60, Kind: 1, Mono: 2 * time.Second}}},
	}
}

// What lies in outboxes in the field is read for ever.
func TestEnvelopeBytes(t *testing.T) {
	plain := &agent.Envelope{ContentType: "text/plain", Created: instant(), Properties: map[string]string{"k": "v"}, Body: []byte("hi")}
	for name, row := range map[string]struct {
		e    *agent.Envelope
		want string
	}{
		"version 1": {plain, "010a746578742f706c61696e0000f49796abc06801016b01766869"},
		"version 2": {slotted(), "02106170706c69636174696f6e2f6a736f6e057574662d3800000001628095f52a020201c0843d030180897a" + hex.EncodeToString(slotted().Body)},
	} {
		if got := hex.EncodeToString(row.e.Encode()); got != row.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, row.want)
		}
		b, err := hex.DecodeString(row.want)
		if err != nil {
			t.Fatal(err)
		}
		e, err := agent.DecodeEnvelope(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(row.e, e); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestDamagedSlots(t *testing.T) {
	for name, damage := range map[string]func(s *agent.Slots){
		"outside of the body": func(s *agent.Slots) { s.At[1].Offset = 63 },
		"unknown kind":        func(s *agent.Slots) { s.At[0].Kind = 9 },
		"absurd offset":       func(s *agent.Slots) { s.At[1].Offset = 1<<30 + 100 },
		"absurd time":         func(s *agent.Slots) { s.At[1].Mono = 1<<63 - 1 },
		"absurd creation":     func(s *agent.Slots) { s.Created = 1<<63 - 1 },
	} {
		e := slotted()
		damage(e.Slots)
		if got, err := agent.DecodeEnvelope(e.Encode()); err == nil {
			t.Errorf("%s: %+v", name, got.Slots)
		}
	}
	whole := slotted().Encode()
	for n := range len(whole) - len(slotted().Body) {
		if e, err := agent.DecodeEnvelope(whole[:n]); err == nil {
			t.Errorf("cut to %d bytes: %+v", n, e)
		}
	}
}
