package program

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run runs a script of the shell's; what the shell itself does is not the matter here. The handlers' tests have programs that resist.
func run(t *testing.T, script string) (Exit, *Head, *Tail) {
	t.Helper()
	c := Command{Path: "/bin/sh", Args: []string{"-c", script}, Env: Environment([]string{"A=b"}, "C=d"), Grace: time.Second}
	stdout, stderr := &Head{Max: 8}, &Tail{Max: 8}
	return c.Run(t.Context(), "in", stdout, stderr), stdout, stderr
}

func TestRun(t *testing.T) {
	for script, want := range map[string]struct {
		status   int
		signal   syscall.Signal
		out, err string
		cut      bool
	}{
		"exit 0":                             {},
		"cat; pwd >&2":                       {out: "in", err: "/"},
		"echo $A$C; exit 3":                  {status: 3, out: "bd"},
		"kill -9 $$":                         {status: -1, signal: syscall.SIGKILL},
		"echo 123456789; echo 123456789 >&2": {out: "12345678…", err: "…3456789", cut: true},
	} {
		e, stdout, stderr := run(t, script)
		status, signal := e.Status()
		if !e.Started || e.TimedOut || e.SignalErr != nil || status != want.status || signal != want.signal || (e.Err == nil) != (status == 0) {
			t.Errorf("%s: %+v, status %d, signal %v", script, e, status, signal)
		}
		if stdout.String() != want.out || stderr.String() != want.err || stdout.Cut() != want.cut {
			t.Errorf("%s: %q, %q, cut %v", script, stdout, stderr, stdout.Cut())
		}
	}
}

func TestNotStarted(t *testing.T) {
	c := Command{Path: "/nonexistent/program"}
	e := c.Run(t.Context(), "", &Head{}, &Tail{})
	if e.Started || !errors.Is(e.Err, fs.ErrNotExist) {
		t.Errorf("%+v", e)
	}
	if status, signal := e.Status(); status != 0 || signal != 0 {
		t.Errorf("status %d, signal %v", status, signal)
	}
}

func TestReady(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Command{
		"is not there": {Path: filepath.Join(dir, "none")}, "is not a file": {Path: dir}, "chmod o-w": {Path: open},
		"dir: ": {Path: "/bin/sh", Dir: filepath.Join(dir, "none")}, "not a directory": {Path: "/bin/sh", Dir: open},
	} {
		if err := c.Ready(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	if err := (&Command{Path: "/bin/sh", Dir: dir}).Ready(); err != nil {
		t.Error(err)
	}
}
