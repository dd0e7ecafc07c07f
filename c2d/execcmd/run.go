package execcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/c2d"
)

const (
	exitTryLater = 75 // EX_TEMPFAIL
	// killGrace lies between SIGTERM and SIGKILL.
	killGrace = 2 * time.Second
	// pipeGrace is how long a descendant that outlives the program may hold its output open.
	pipeGrace = 500 * time.Millisecond
	// stderrMax is kept of standard error, from its end.
	stderrMax = 2 << 10
)

var _ c2d.Handler = (*handler)(nil)

type handler struct {
	c    Config
	name string
	env  []string
	log  *slog.Logger
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
	stdout, stderr := &head{max: int(h.c.MaxOutput.N)}, &tail{max: stderrMax}
	// The context given to os/exec is never done: it would kill the program alone and at once.
	c := exec.CommandContext(context.WithoutCancel(ctx), h.c.Path, h.c.Args...) //nolint:gosec // the administrator's program
	c.Dir, c.Env = h.c.Dir, h.env
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(string(args)), stdout, stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.WaitDelay = pipeGrace
	if err := c.Start(); err != nil {
		return c2d.Result{Status: c2d.Failed, Detail: fmt.Sprintf("not started, nothing happened: %v", err)}
	}
	timedOut := h.watch(ctx, c.Process.Pid)
	err := c.Wait()
	res := outcome(err, timedOut)
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

// watch returns when the program has ended and nothing of its group runs. The program is left as a zombie for Wait: until it
// is reaped its number cannot become another group's, so that every signal meets the right one.
func (h *handler) watch(ctx context.Context, pid int) (timedOut bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var info unix.Siginfo
		for errors.Is(unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
			continue
		}
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		timedOut = true
		h.signal(-pid, syscall.SIGTERM)
		grace := time.NewTimer(killGrace)
		defer grace.Stop()
		select {
		case <-ended:
		case <-grace.C:
			h.signal(-pid, syscall.SIGKILL)
			<-ended
		}
	}
	h.signal(-pid, syscall.SIGKILL) // what the program left behind
	return timedOut
}

func (h *handler) signal(group int, sig syscall.Signal) {
	if err := syscall.Kill(group, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		h.log.Warn("process group of a command not signalled", "group", -group, "signal", sig.String(), "error", err)
	}
}

// outcome judges how the program ended; err is Wait's.
func outcome(err error, timedOut bool) c2d.Result {
	exit, isExit := errors.AsType[*exec.ExitError](err)
	switch {
	case timedOut:
		res := c2d.Result{Status: c2d.TimedOut, Detail: "was ended before it was done"}
		if isExit {
			res.Code = exit.ExitCode()
		}
		return res
	case err == nil || errors.Is(err, exec.ErrWaitDelay): // the latter: exit status 0, the output was held open
		return c2d.Result{Status: c2d.Done}
	case !isExit:
		return c2d.Result{Status: c2d.Failed, Detail: err.Error()}
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return c2d.Result{Status: c2d.Crashed, Code: exit.ExitCode(), Detail: fmt.Sprintf("was ended by signal %d (%s)", int(ws.Signal()), ws.Signal())}
	}
	res := c2d.Result{Status: c2d.Refused, Code: exit.ExitCode(), Detail: fmt.Sprintf("exit status %d", exit.ExitCode())}
	if res.Code == exitTryLater {
		res.Status = c2d.TryLater
	}
	return res
}
