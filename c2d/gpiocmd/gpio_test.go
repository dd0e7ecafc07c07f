package gpiocmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"

	"iotagent/c2d"
	"iotagent/internal/gpioline"
)

func openSim(t *testing.T, safe string) *handler {
	t.Helper()
	c := &Config{Pin: "sim", Safe: safe}
	c.Validate(func(key, msg string) { t.Fatalf("%s: %s", key, msg) })
	h, err := c.Open(t.Context(), c2d.Env{Name: "relay", Root: "/", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*handler)
}

// recorder is a pin that notes what happens to it.
type recorder struct {
	simOutput
	log []string
	err error
}

func (r *recorder) Out(l gpio.Level) error {
	if r.err != nil {
		return r.err
	}
	r.log = append(r.log, levelName(l))
	return nil
}

func (r *recorder) Close() error {
	r.log = append(r.log, "closed")
	return nil
}

func run(h c2d.Handler, args string) c2d.Result {
	return h.Run(context.Background(), json.RawMessage(args))
}

func TestLevels(t *testing.T) {
	h := openSim(t, "low")
	if h.State()["level"] != "low" {
		t.Errorf("state at start %v", h.State())
	}
	for _, step := range []struct{ args, level string }{
		{`{"level":"high"}`, "high"}, {`{"level":"high"}`, "high"}, {`{"toggle":true}`, "low"}, {`{"toggle":true}`, "high"}, {`{"level":"low"}`, "low"},
	} {
		want := c2d.Result{Status: c2d.Done, Detail: fmt.Sprintf(`{"level":%q}`, step.level)}
		if d := cmp.Diff(want, run(h, step.args)); d != "" {
			t.Errorf("%s: %s", step.args, d)
		}
		if got := h.State()["level"]; got != step.level {
			t.Errorf("%s: state %s", step.args, got)
		}
	}
}

func TestSafeAtStopThenClosed(t *testing.T) {
	h := openSim(t, "high")
	pin := &recorder{}
	h.pin = pin
	run(h, `{"level":"low"}`)
	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"low", "high", "closed"}, pin.log); d != "" {
		t.Error(d)
	}
	if got := run(h, `{"level":"low"}`); got.Status != c2d.Failed {
		t.Errorf("after Close: %+v", got)
	}
}

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openSim(t, "low")
		pin := &recorder{}
		h.pin = pin
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		got := h.Run(ctx, json.RawMessage(`{"pulse":"500ms"}`))
		if got.Status != c2d.Done || time.Since(start) != 500*time.Millisecond {
			t.Errorf("%+v after %s", got, time.Since(start))
		}
		if d := cmp.Diff([]string{"high", "low"}, pin.log); d != "" {
			t.Error(d)
		}
		if got := h.Run(ctx, json.RawMessage(`{"pulse":"30s"}`)); got.Status != c2d.Refused || len(pin.log) != 2 {
			t.Errorf("too long: %+v, %v", got, pin.log)
		}
		cut, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		if got := h.Run(cut, json.RawMessage(`{"pulse":"10s"}`)); got.Status != c2d.TimedOut || h.State()["level"] != "low" {
			t.Errorf("cut short: %+v, %v", got, h.State())
		}
	})
}

func TestPinFails(t *testing.T) {
	h := openSim(t, "low")
	pin := &recorder{}
	h.pin = pin
	run(h, `{"level":"high"}`)
	pin.err = unix.EIO
	if got := run(h, `{"toggle":true}`); got.Status != c2d.Failed || !strings.Contains(got.Detail, "set sim low: input/output error") {
		t.Errorf("%+v", got)
	}
	if h.State()["level"] != "high" {
		t.Error("remembers a level that it did not drive")
	}
	if err := h.Close(); !errors.Is(err, unix.EIO) || pin.log[len(pin.log)-1] != "closed" {
		t.Errorf("close: %v, %v", err, pin.log)
	}
}

func TestParse(t *testing.T) {
	tests := []struct{ args, word string }{
		{``, "exactly one"},
		{`{}`, "exactly one"},
		{`{"level":"high","toggle":true}`, "exactly one"},
		{`{"level":"high","level":"low"}`, "exactly one"},
		{`{"level":"HIGH"}`, "level: want"},
		{`{"level":1}`, "level: want"},
		{`{"level":{"a":1}}`, "level: want"},
		{`{"toggle":false}`, "toggle: want true"},
		{`{"toggle":"true"}`, "toggle: want true"},
		{`{"pulse":500}`, "pulse: want"},
		{`{"pulse":"-1s"}`, "pulse: want"},
		{`{"pulse":"0s"}`, "pulse: want"},
		{`{"pulse":"2h"}`, "pulse: want"},
		{`{"Level":"high"}`, `unknown key "Level"`},
		{`{"state":"on"}`, `unknown key "state"`},
		{`[]`, "exactly one"},
	}
	h := openSim(t, "low")
	for _, tt := range tests {
		if err := h.Check(json.RawMessage(tt.args)); err == nil || !strings.Contains(err.Error(), tt.word) {
			t.Errorf("%s: error %v does not say %q", tt.args, err, tt.word)
		}
		if got := run(h, tt.args); got.Status != c2d.Refused {
			t.Errorf("%s ran: %+v", tt.args, got)
		}
	}
	if err := h.Check(nil); !errors.Is(err, errUsage) {
		t.Errorf("no arguments: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"level":"high"}`, `{"toggle":true}`, `{"pulse":"500ms"}`, `{"pulse":[{}]}`, `{"level"`, `{}`, ``} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parse(json.RawMessage(s))
		if err == nil && (a.kind < setLevel || a.kind > pulse || (a.kind == pulse) != (a.pulse > 0)) {
			t.Errorf("%q: %+v", s, a)
		}
	})
}

func TestIdleLevel(t *testing.T) {
	lines := make([]gpioline.Info, 54)
	tests := []struct {
		label string
		line  gpioline.Info
		level gpio.Level
		known bool
	}{
		{"pinctrl-bcm2835", gpioline.Info{Offset: 8}, gpio.High, true},
		{"pinctrl-bcm2711", gpioline.Info{Offset: 9}, gpio.Low, true},
		{"pinctrl-rp1", gpioline.Info{Offset: 4}, gpio.High, true},
		{"pinctrl-bcm2835", gpioline.Info{Offset: 40}, gpio.Low, false},
		{"other", gpioline.Info{Offset: 4}, gpio.Low, false},
		{"other", gpioline.Info{Flags: gpioline.FlagBiasPullUp}, gpio.High, true},
		{"other", gpioline.Info{Flags: gpioline.FlagBiasPullDown}, gpio.Low, true},
		{"other", gpioline.Info{Flags: gpioline.FlagBiasPullUp | gpioline.FlagUsed}, gpio.Low, false},
	}
	for _, tt := range tests {
		line := gpioline.Line{Chip: gpioline.Chip{Label: tt.label, Lines: lines}, Info: tt.line}
		if level, known := idleLevel(line); known != tt.known || (known && level != tt.level) {
			t.Errorf("%s %+v: %v, %v", tt.label, tt.line, level, known)
		}
	}
}

func TestNoLine(t *testing.T) {
	_, err := (&Config{Pin: "nochip:1", Safe: "low"}).Open(t.Context(), c2d.Env{Root: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, gpioline.ErrUnknown) || !strings.Contains(err.Error(), "no GPIO chip") || !strings.Contains(err.Error(), `"sim"`) {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		c    Config
		keys []string
	}{
		{Config{Pin: "GPIO17", Safe: "low"}, nil},
		{Config{Pin: "sim", Safe: "high"}, nil},
		{Config{Safe: "off"}, []string{"pin", "safe"}},
		{Config{Pin: ":4", Safe: "low"}, []string{"pin"}},
		{Config{Pin: "gpiochip0:", Safe: "low"}, []string{"pin"}},
		{Config{Pin: "P1_6", Safe: "low"}, []string{"pin"}},
	}
	for _, tt := range tests {
		var keys []string
		tt.c.Validate(func(key, _ string) { keys = append(keys, key) })
		if d := cmp.Diff(tt.keys, keys); d != "" {
			t.Errorf("%+v: %s", tt.c, d)
		}
	}
}

func TestSimNeedsNothing(t *testing.T) {
	c := &Config{Pin: "sim", Safe: "high"}
	if err := c.SetSafe(t.Context()); err != nil || c.Warning() != "" {
		t.Errorf("%v, %q", err, c.Warning())
	}
}

func TestSample(t *testing.T) {
	var file struct {
		Command []map[string]any `toml:"command"`
	}
	if err := toml.Unmarshal([]byte(Type().Sample), &file); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{"name": "relay", "type": "gpio", "pin": "GPIO17", "safe": "low"}}
	if d := cmp.Diff(want, file.Command); d != "" {
		t.Error(d)
	}
}
