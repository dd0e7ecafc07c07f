package execcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"iotagent/c2d"
	"iotagent/internal/program"
)

const (
	exitTryLater = 75 // EX_TEMPFAIL
	// killGrace lies between SIGTERM and SIGKILL.
	killGrace = 2 * time.Second
	// stderrMax is kept of standard error, from its end.
	stderrMax = 2 << 10
)

var _ c2d.Handler = (*handler)(nil)

type handler struct {
	c   Config
	cmd program.Command
	log *slog.Logger
}

// Check implements c2d.Handler: the program itself judges its arguments.
func (h *handler) Check(json.RawMessage) error { return nil }

// Idempotent implements c2d.Handler.
func (h *handler) Idempotent() bool { return h.c.Idempotent }

// State implements c2d.Handler: a program has none between its runs.
func (h *handler) State() map[string]string { return nil }

// Close implements c2d.Handler.
func (h *handler) Close() error { return nil }

// Run implements c2d.Handler.
func (h *handler) Run(ctx context.Context, args json.RawMessage) c2d.Result {
	if args == nil {
		args = json.RawMessage("{}")
	}
	stdout, stderr := &program.Head{Max: int(h.c.MaxOutput.N)}, &program.Tail{Max: stderrMax}
	exit := h.cmd.Run(ctx, string(args), stdout, stderr)
	if !exit.Started {
		return c2d.Result{Status: c2d.Failed, Detail: fmt.Sprintf("not started, nothing happened: %v", exit.Err)}
	}
	if exit.SignalErr != nil {
		h.log.Warn("process group of a command not signalled", "error", exit.SignalErr)
	}
	res := outcome(&exit)
	if res.Status == c2d.Done {
		res.Detail = stdout.String()
		return res
	}
	words := stderr.String()
	if words == "" {
		words = stdout.String()
	}
	if words != "" {
		res.Detail += ": " + words
	}
	return res
}

// outcome judges how the program ended.
func outcome(e *program.Exit) c2d.Result {
	status, signal := e.Status()
	switch {
	case e.TimedOut:
		return c2d.Result{Status: c2d.TimedOut, Code: status, Detail: "was ended before it was done"}
	case e.Err == nil:
		return c2d.Result{Status: c2d.Done}
	case status == 0:
		return c2d.Result{Status: c2d.Failed, Detail: e.Err.Error()}
	case signal != 0:
		return c2d.Result{Status: c2d.Crashed, Code: status, Detail: fmt.Sprintf("was ended by signal %d (%s)", int(signal), signal)}
	}
	res := c2d.Result{Status: c2d.Refused, Code: status, Detail: fmt.Sprintf("exit status %d", status)}
	if status == exitTryLater {
		res.Status = c2d.TryLater
	}
	return res
}
