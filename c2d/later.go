package c2d

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// OpenLater opens a handler now and, where that fails (a line that is in use, a program that is not installed), again when a
// command comes for it, at most once in retryOpen. Until then it refuses every command with the reason, and nothing runs: an
// absent output never keeps the daemon down.
func OpenLater(ctx context.Context, cfg Config, env Env) Handler {
	l := &later{cfg: cfg, env: env}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := l.open(); err != nil {
		env.Logger.Error("command not available", "error", err)
	}
	return l
}

// retryOpen keeps a burst of commands from hammering what cannot be opened.
const retryOpen = 5 * time.Second

type later struct {
	cfg    Config
	env    Env
	ctx    context.Context //nolint:containedctx // lives from OpenLater to Close, for opens in between
	cancel context.CancelFunc

	mu     sync.Mutex
	h      Handler // nil until it could be opened
	err    error   // why it could not
	tried  time.Time
	closed bool
}

// open tries to open the handler unless it is open or was tried a moment ago.
func (l *later) open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.h != nil:
		return nil
	case l.closed:
		return errStopping
	case !l.tried.IsZero() && time.Since(l.tried) < retryOpen:
		return l.err
	}
	l.tried = time.Now()
	if l.h, l.err = l.cfg.Open(l.ctx, l.env); l.err != nil {
		l.h, l.err = nil, fmt.Errorf("not available: %w", l.err)
	}
	return l.err
}

func (l *later) handler() Handler {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.h
}

// Check opens the handler if it must, and asks it.
func (l *later) Check(args json.RawMessage) error {
	if err := l.open(); err != nil {
		return err
	}
	return l.handler().Check(args)
}

// Run runs the handler that Check opened. A command that an earlier process accepted may come here unchecked.
func (l *later) Run(ctx context.Context, args json.RawMessage) Result {
	if err := l.open(); err != nil {
		return Result{Status: Refused, Detail: err.Error()}
	}
	return l.handler().Run(ctx, args)
}

// Idempotent is false while nobody knows.
func (l *later) Idempotent() bool {
	h := l.handler()
	return h != nil && h.Idempotent()
}

// State shows why the handler is not there.
func (l *later) State() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.h == nil {
		return map[string]string{"unavailable": errors.Unwrap(l.err).Error()}
	}
	return l.h.State()
}

// Close closes the handler, if there is one.
func (l *later) Close() error {
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.h == nil {
		return nil
	}
	return l.h.Close()
}

var _ Handler = (*later)(nil)
