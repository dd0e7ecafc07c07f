package gpiocmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"

	"iotagent/c2d"
)

// output is a pin with an end: Close lets it go.
type output interface {
	gpio.PinOut
	io.Closer
}

var _ c2d.Handler = (*handler)(nil)

type handler struct {
	pin        output
	safe       gpio.Level
	idempotent bool
	log        *slog.Logger

	mu     sync.Mutex // guards the pin too
	level  gpio.Level // what we drove last
	closed bool
}

// Check implements c2d.Handler.
func (h *handler) Check(args json.RawMessage) error {
	_, err := parse(args)
	return err
}

// Idempotent implements c2d.Handler.
func (h *handler) Idempotent() bool { return h.idempotent }

// State implements c2d.Handler.
func (h *handler) State() map[string]string {
	return map[string]string{"level": levelName(h.now()), "pin": h.pin.String()}
}

// Run implements c2d.Handler.
func (h *handler) Run(ctx context.Context, args json.RawMessage) c2d.Result {
	a, err := parse(args)
	if err != nil {
		return c2d.Result{Status: c2d.Refused, Detail: err.Error()}
	}
	switch a.kind {
	case setLevel:
		err = h.drive(a.level)
	case toggle:
		err = h.drive(!h.now())
	case pulse:
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= a.pulse {
			return c2d.Result{Status: c2d.Refused, Detail: fmt.Sprintf("pulse: %s is not shorter than the command's timeout", a.pulse)}
		}
		return h.pulse(ctx, a.pulse)
	}
	return h.result(err)
}

// pulse goes back to the level before whatever happens in between.
func (h *handler) pulse(ctx context.Context, d time.Duration) c2d.Result {
	before := h.now()
	if err := h.drive(!before); err != nil {
		return h.result(err)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	var cut bool
	select {
	case <-t.C:
	case <-ctx.Done():
		cut = true
	}
	if err := h.drive(before); err != nil {
		return h.result(fmt.Errorf("the pulse did not end: %w", err))
	}
	if cut {
		return c2d.Result{Status: c2d.TimedOut, Detail: fmt.Sprintf("the pulse was cut short; the pin is %s again", levelName(before))}
	}
	return h.result(nil)
}

func (h *handler) result(err error) c2d.Result {
	if err != nil {
		return c2d.Result{Status: c2d.Failed, Detail: err.Error()}
	}
	return c2d.Result{Status: c2d.Done, Detail: fmt.Sprintf(`{"level":%q}`, levelName(h.now()))}
}

func (h *handler) now() gpio.Level {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.level
}

func (h *handler) drive(l gpio.Level) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.New("the output was let go")
	}
	if err := h.pin.Out(l); err != nil {
		return fmt.Errorf("set %s %s: %w", h.pin, levelName(l), err)
	}
	h.level = l
	h.log.Info("output set", "pin", h.pin.String(), "level", levelName(l))
	return nil
}

// Close implements c2d.Handler: the safe level first, then the line is let go.
func (h *handler) Close() error {
	err := h.drive(h.safe)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	return errors.Join(err, h.pin.Close())
}
