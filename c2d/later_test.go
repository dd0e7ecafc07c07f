package c2d_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/c2d"
)

// flaky is a handler's configuration that can be opened only once its output is there.
type flaky struct {
	missing error
	opened  int
	closed  int
}

func (f *flaky) Validate(func(key, msg string)) {}

func (f *flaky) Open(context.Context, c2d.Env) (c2d.Handler, error) {
	f.opened++
	if f.missing != nil {
		return nil, f.missing
	}
	return f, nil
}

func (f *flaky) Check(json.RawMessage) error { return nil }

func (f *flaky) Run(context.Context, json.RawMessage) c2d.Result {
	return c2d.Result{Status: c2d.Done}
}
func (f *flaky) Idempotent() bool         { return true }
func (f *flaky) State() map[string]string { return map[string]string{"level": "low"} }
func (f *flaky) Close() error             { f.closed++; return nil }

func TestOpenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{missing: errors.New("line GPIO17 is in use by \"lcd\"")}
		h := c2d.OpenLater(t.Context(), f, c2d.Env{Name: "relay", Logger: slog.New(slog.DiscardHandler)})
		for range 3 { // one attempt, then the pause between attempts
			if err := h.Check(nil); err == nil || !strings.Contains(err.Error(), "GPIO17 is in use") {
				t.Fatalf("check: %v", err)
			}
		}
		if r := h.Run(t.Context(), nil); r.Status != c2d.Refused {
			t.Errorf("run gave %+v", r)
		}
		if f.opened != 1 || h.Idempotent() || !strings.Contains(h.State()["unavailable"], "GPIO17") {
			t.Errorf("opened %d times, idempotent %t, state %v", f.opened, h.Idempotent(), h.State())
		}
		f.missing = nil
		time.Sleep(6 * time.Second) // virtual
		if err := h.Check(nil); err != nil {
			t.Fatal(err)
		}
		if r := h.Run(t.Context(), nil); r.Status != c2d.Done || !h.Idempotent() || h.State()["level"] != "low" {
			t.Errorf("run gave %+v, state %v", r, h.State())
		}
		if err := h.Close(); err != nil || f.closed != 1 {
			t.Errorf("close: %v, %d times", err, f.closed)
		}
	})
}

func TestOpenLaterClosedBeforeItWasThere(t *testing.T) {
	f := &flaky{missing: errors.New("no such line")}
	h := c2d.OpenLater(t.Context(), f, c2d.Env{Logger: slog.New(slog.DiscardHandler)})
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(nil); err == nil {
		t.Error("a closed handler takes commands")
	}
	if f.closed != 0 || f.opened != 1 {
		t.Errorf("opened %d, closed %d", f.opened, f.closed)
	}
}
