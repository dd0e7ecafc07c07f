package faults

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"iotagent/outbox"
)

// process is a worker that runs without strace. Its notes are read as they come.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	pid   int

	mu     sync.Mutex
	notes  []note
	err    error
	more   chan struct{} // closed at the next note
	ended  chan struct{}
	stderr bytes.Buffer
}

// start runs a worker until it is killed or stopped.
func start(t *testing.T, j job) *process {
	t.Helper()
	p := &process{more: make(chan struct{}), ended: make(chan struct{})}
	p.cmd = exec.CommandContext(t.Context(), os.Args[0])
	p.cmd.Env = j.environment()
	p.cmd.Stderr = &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = p.cmd.Process.Pid
	go p.read(out)
	t.Cleanup(func() { _ = p.kill() }) // it may have ended long ago
	return p
}

func (p *process) read(out io.Reader) {
	defer close(p.ended)
	for b := bufio.NewReader(out); ; {
		line, err := b.ReadBytes('\n')
		if err != nil {
			return // a last line without an end was not told in full
		}
		n, err := parseNote(line)
		p.mu.Lock()
		p.notes = append(p.notes, n)
		p.err = errors.Join(p.err, err)
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

// kill ends the process at once and returns when that was, at the latest.
func (p *process) kill() time.Time {
	at := time.Now()
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	_ = p.cmd.Wait() // killed
	return at
}

// stop lets the process close its outbox.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if err := p.cmd.Wait(); err != nil || p.complaints() != "" {
		t.Fatalf("the worker did not end well: %v\n%s%s", err, p.complaints(), p.stderr.String())
	}
}

func (p *process) complaints() (s string) {
	for _, n := range p.told() {
		if n.What == wrong || n.What == unclosed {
			s += n.Error + "\n"
		}
	}
	return s
}

// told returns the notes so far.
func (p *process) told() []note {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.notes[:len(p.notes):len(p.notes)]
}

// await returns the number of notes up to the first one from a number on for which is says yes.
func (p *process) await(t *testing.T, what string, from int, patience time.Duration, is func(n *note) bool) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := from; ; {
		p.mu.Lock()
		notes, more := p.notes, p.more
		p.mu.Unlock()
		for ; i < len(notes); i++ {
			if is(&notes[i]) {
				return i + 1
			}
		}
		select {
		case <-more:
		case <-p.ended:
			t.Fatalf("the worker ended before %s: %s%s", what, p.complaints(), p.stderr.String())
		case <-ctx.Done():
			_ = p.cmd.Process.Signal(syscall.SIGQUIT) // to see where it stands
			<-p.ended
			_ = p.cmd.Wait() // killed
			t.Fatalf("waited %s in vain for %s\n%s", patience, what, p.stderr.String())
		}
	}
}

// TestKill kills a worker at random points, again and again on the same directory.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := times(t, "FAULTS_KILLS", 25)
	modes := map[string]job{
		"every put fsynced": {MaxBytes: 64 << 20, Big: 4000},
		"memory stage":      {MaxBytes: 64 << 20, Big: 4000, MaxLoss: 100 * time.Millisecond, Safe: 5, Pause: 8 * time.Millisecond},
	}
	for name, j := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j.Dir = filepath.Join(memoryDir(t), "outbox")
			killOften(t, j, (kills+1)/2)
		})
	}
}

func killOften(t *testing.T, j job, kills int) {
	h, sum := newHistory(j.MaxLoss), summary{}
	tight, puts := 0, 0
	for round := range kills {
		p := start(t, j)
		if rand.IntN(4) > 0 { // otherwise maybe while it opens
			p.await(t, "it opened the outbox", 0, ready, func(n *note) bool { return n.What == opened })
		}
		wait(t.Context().Done(), rand.N(50*time.Millisecond+3*j.MaxLoss))
		at := p.kill()
		if p.err != nil {
			t.Fatal(p.err)
		}
		for _, n := range p.told() {
			h.add(n)
			if n.What == putting {
				j.First = max(j.First, n.First+10)
			}
			if n.What == put {
				puts += len(n.IDs)
			}
		}
		if h.slack(at) < j.MaxLoss {
			tight++
		}
		f := examine(t, &j, h, at)
		sum.add(f)
		if f.err() != nil {
			t.Fatalf("kill %d of %d: %v", round+1, kills, f.err())
		}
		if rand.IntN(5) == 0 {
			ackAll(t, &j, h)
		}
	}
	t.Logf("%d puts: %s", puts, &sum)
	if puts < kills {
		t.Errorf("%d kills with %d messages put prove nothing", kills, puts)
	}
	if j.MaxLoss > 0 && tight < kills/2 {
		t.Errorf("in %d of %d rounds only was the machine quick enough to tell whether max_loss is kept", tight, kills)
	}
}

// ackAll empties the outbox.
func ackAll(t *testing.T, j *job, h *history) {
	t.Helper()
	q, err := outbox.Open(j.Dir, j.options())
	if err != nil {
		t.Fatal(err)
	}
	h.begin(q.Stats().Epoch, time.Now())
	ids := make([]outbox.ID, 0, 1000)
	for _, e := range drain(t, q) {
		ids = append(ids, e.ID)
		if e.Gap != nil {
			h.declared = append(h.declared, *e.Gap)
		}
	}
	if err := q.Ack(ids...); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	h.add(note{What: acking, IDs: ids})
	h.add(note{What: acked, IDs: ids, At: time.Now().UnixNano()})
	h.add(note{What: closed})
}
