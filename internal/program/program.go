// Package program runs a program of the administrator's: one that the configuration names by its absolute path, with no shell between, in a process
// group of its own, with a time limit, and with nothing of our environment but what is named.
package program

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipeGrace is how long a descendant that outlives the program may hold its output open.
const pipeGrace = 500 * time.Millisecond

// Command is what to run.
type Command struct {
	// Path is absolute; Args follow the program's name.
	Path string
	Args []string
	// Dir to run in; absolute, "" means "/".
	Dir string
	// Env is the whole environment, as Environment makes it.
	Env []string
	// Grace lies between SIGTERM and SIGKILL when the time is up.
	Grace time.Duration
}

// Validate calls bad for what cannot be right, by the keys that configurations have: path, args, dir and env. Env is what Environment is given.
func (c *Command) Validate(example string, bad func(key, msg string)) {
	switch {
	case c.Path == "":
		bad("path", fmt.Sprintf("is missing: name the program, such as %q", example))
	case !filepath.IsAbs(c.Path):
		bad("path", fmt.Sprintf("%q is not absolute: want the whole path, from /", c.Path))
	case strings.ContainsRune(c.Path, 0):
		bad("path", "contains a zero byte")
	}
	if c.Dir != "" && !filepath.IsAbs(c.Dir) {
		bad("dir", fmt.Sprintf("%q is not absolute: want the whole path, from /", c.Dir))
	}
	for _, a := range c.Args {
		if strings.ContainsRune(a, 0) {
			bad("args", "an argument contains a zero byte")
		}
	}
	for _, e := range c.Env {
		name, _, _ := strings.Cut(e, "=")
		if name == "" || strings.ContainsAny(name, " \x00") || strings.ContainsRune(e, 0) {
			bad("env", fmt.Sprintf(`%q is neither a variable's name nor "NAME=value"`, e))
		}
	}
}

// Ready looks whether the program can be run. The error wraps fs.ErrNotExist when there is none.
func (c *Command) Ready() error {
	if err := executable(c.Path); err != nil {
		return err
	}
	if c.Dir == "" {
		return nil
	}
	if info, err := os.Stat(c.Dir); err != nil {
		return fmt.Errorf("dir: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("dir: %s is not a directory", c.Dir)
	}
	return nil
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not there: %w", path, err)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("%s may be changed by anyone (mode %04o), so it is not run: chmod o-w it", path, info.Mode().Perm())
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return fmt.Errorf("%s may not be run by this user (mode %04o): try chmod 755: %w", path, info.Mode().Perm(), err)
	}
	return nil
}

// Environment is all that a program gets to see of ours: PATH, HOME and LANG, what is allowed by name ("TZ") or set ("MODE=soft"), and more.
func Environment(allowed []string, more ...string) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LANG=C.UTF-8"}
	for _, name := range []string{"HOME", "LANG"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	for _, e := range allowed {
		if strings.Contains(e, "=") {
			env = append(env, e)
		} else if v, ok := os.LookupEnv(e); ok {
			env = append(env, e+"="+v)
		}
	}
	return append(env, more...) // of two with one name os/exec passes the last
}

// Exit is how a program ended.
type Exit struct {
	// Started is false when it was not, and nothing happened; Err says why.
	Started bool
	// Err is nil for exit status 0, an *exec.ExitError for another and for a signal.
	Err error
	// TimedOut says that it was ended because its time was up.
	TimedOut bool
	// SignalErr says why something of its process group may have been left.
	SignalErr error
}

// Status returns the exit status, -1 when a signal ended the program, and that signal.
func (e *Exit) Status() (status int, signal syscall.Signal) {
	exit, ok := errors.AsType[*exec.ExitError](e.Err)
	if !ok {
		return 0, 0
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		signal = ws.Signal()
	}
	return exit.ExitCode(), signal
}

// Run runs the program until it ends, and no longer than ctx and Grace allow. What is left of its process group then is killed.
func (c *Command) Run(ctx context.Context, stdin string, stdout *Head, stderr *Tail) Exit {
	// The context given to os/exec is never done: it would kill the program alone and at once.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), c.Path, c.Args...) //nolint:gosec // the administrator's program
	cmd.Dir, cmd.Env = c.Dir, c.Env
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = pipeGrace
	if err := cmd.Start(); err != nil {
		return Exit{Err: err}
	}
	e := Exit{Started: true}
	e.TimedOut, e.SignalErr = c.watch(ctx, cmd.Process.Pid)
	if e.Err = cmd.Wait(); errors.Is(e.Err, exec.ErrWaitDelay) {
		e.Err = nil // exit status 0; the output was held open
	}
	return e
}

// watch returns when the program has ended and nothing of its group runs. The program is left as a zombie for Wait: until it
// is reaped its number cannot become another group's, so that every signal meets the right one.
func (c *Command) watch(ctx context.Context, pid int) (timedOut bool, err error) {
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
		err = signal(pid, syscall.SIGTERM)
		grace := time.NewTimer(c.Grace)
		defer grace.Stop()
		select {
		case <-ended:
		case <-grace.C:
			err = errors.Join(err, signal(pid, syscall.SIGKILL))
			<-ended
		}
	}
	return timedOut, errors.Join(err, signal(pid, syscall.SIGKILL)) // what the program left behind
}

func signal(group int, sig syscall.Signal) error {
	if err := syscall.Kill(-group, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("process group %d: %s: %w", group, sig, err)
	}
	return nil
}
