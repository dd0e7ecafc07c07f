package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// buffer takes what a process writes, and can be read meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// process is one run of a program.
type process struct {
	t        *testing.T
	name     string
	cmd      *exec.Cmd
	out, log buffer // standard output and standard error
	ended    chan struct{}
}

// launch starts a program in an environment of its own. The end of the test ends it.
func launch(t *testing.T, stdin io.Reader, name string, args ...string) *process {
	t.Helper()
	return launchAs(t, stdin, filepath.Join(os.Getenv(binaries), name), args...)
}

// launchAs starts a program by its path.
func launchAs(t *testing.T, stdin io.Reader, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(path) + " " + strings.Join(args, " "), ended: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "TMPDIR=" + os.TempDir()}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // ProcessState says how it ended
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() && !(strings.HasSuffix(p.name, "status --json") && p.status() == 0) {
			t.Logf("--- %s: status %d\n%s%s", p.name, p.status(), p.out.String(), p.log.String())
		}
		if text := p.out.String() + p.log.String(); strings.Contains(text, "panic:") || strings.Contains(text, "goroutine 1 [") {
			t.Errorf("%s crashed:\n%s", p.name, text)
		}
	})
	return p
}

// signal sends a signal; to a process that has ended it does nothing.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
}

// kill ends the process as a power cut does, and returns when it is gone.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// wait returns the exit status of a process that ends by itself.
func (p *process) wait() int {
	p.t.Helper()
	await(p.t, "the end of "+p.name, p.hasEnded)
	return p.status()
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// status is the exit status, -1 after a signal.
func (p *process) status() int { return p.cmd.ProcessState.ExitCode() }

// says waits for a text in what the process writes.
func (p *process) says(text string) {
	p.t.Helper()
	await(p.t, p.name+" to say "+text, func() bool {
		return strings.Contains(p.log.String(), text) || strings.Contains(p.out.String(), text) || p.hasEnded()
	})
	if !strings.Contains(p.log.String()+p.out.String(), text) {
		p.t.Fatalf("%s ended without saying %q", p.name, text)
	}
}

// mentions fails the test for each text that is missing in what the process wrote.
func (p *process) mentions(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		said := func() bool { return strings.Contains(p.out.String()+p.log.String(), text) }
		await(p.t, p.name+" to say "+text, func() bool { return said() || p.hasEnded() })
		if !said() {
			p.t.Errorf("%s does not say %q", p.name, text)
		}
	}
}

// stop asks the process to end and expects that it does so in order.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if status := p.wait(); status != 0 {
		p.t.Errorf("%s: status %d after SIGTERM, want 0", p.name, status)
	}
}
