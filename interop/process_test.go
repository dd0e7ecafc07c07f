//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one run of a program. What it writes to standard output is kept line by line, and the test can wait for lines.
type process struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}

	mu      sync.Mutex
	lines   []string
	errors  bytes.Buffer
	changed chan struct{} // closed and replaced at each line
}

// program starts one of ours.
func program(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return start(t, filepath.Join(os.Getenv(binaries), name), nil, args...)
}

// start runs a program in an environment of its own. The end of the test ends it.
func start(t *testing.T, path string, env []string, args ...string) *process {
	t.Helper()
	p := &process{
		t: t, name: filepath.Base(path) + " " + strings.Join(args, " "), cmd: exec.CommandContext(t.Context(), path, args...),
		ended: make(chan struct{}), changed: make(chan struct{}),
	}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir()}, env...)
	p.cmd.Stderr = (*errorText)(p)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.follow(out)
	t.Cleanup(func() {
		p.kill()
		text := p.stderr()
		if t.Failed() {
			lines := p.all()
			t.Logf("--- %s\n%s\n%s", p.name, strings.Join(lines[max(0, len(lines)-12):], "\n"), text)
		}
		if strings.Contains(text, "panic:") || strings.Contains(text, "goroutine 1 [") {
			t.Errorf("%s crashed:\n%s", p.name, text)
		}
	})
	return p
}

// errorText is a process as the writer of its standard error.
type errorText process

func (e *errorText) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.errors.Write(b)
}

func (p *process) follow(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.cmd.Wait() // ProcessState says how it ended
	close(p.ended)
}

func (p *process) stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errors.String()
}

// all returns the lines so far.
func (p *process) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines
}

// until waits until cond holds for the lines so far.
func (p *process) until(what string, cond func(lines []string) bool) {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		p.mu.Lock()
		lines, changed := p.lines, p.changed
		p.mu.Unlock()
		if cond(lines) {
			return
		}
		select {
		case <-changed:
		case <-p.ended:
			if !cond(p.all()) {
				p.t.Fatalf("%s ended before %s", p.name, what)
			}
			return
		case <-deadline.C:
			p.t.Fatalf("%s: waited %s in vain for %s", p.name, patience, what)
		}
	}
}

// order writes one line of JSON to the process.
func (p *process) order(v any) {
	p.t.Helper()
	line, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// kill ends the process as a power cut does, and returns when it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// stop ends the process in good order.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	if status := p.wait(); status != 0 {
		p.t.Errorf("%s: status %d after SIGTERM", p.name, status)
	}
}

// wait returns the exit status of a process that ends by itself.
func (p *process) wait() int {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-p.ended:
	case <-deadline.C:
		p.t.Fatalf("%s did not end within %s", p.name, patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// run runs a program of ours to its end, with this on its standard input, and returns what it printed.
func run(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	p := program(t, name, args...)
	if _, err := io.WriteString(p.stdin, stdin); err != nil {
		t.Fatal(err)
	}
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if status := p.wait(); status != 0 {
		t.Fatalf("%s: status %d\n%s", p.name, status, p.stderr())
	}
	return strings.Join(p.all(), "\n")
}
