package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// linePrefix begins the body of every durable message.
const linePrefix = "line "

// load makes durable messages and commands.
type load struct {
	wg     sync.WaitGroup
	cancel context.CancelFunc

	mu       sync.Mutex
	lines    int                  // handed to `iotagent send`
	last     int                  // number of the command that was sent last
	commands map[string]time.Time // body to when the hub took it, zero when that is not known
}

func (l *load) begin(w *world) {
	ctx, cancel := context.WithCancel(w.ctx)
	l.cancel, l.commands = cancel, map[string]time.Time{}
	l.wg.Go(func() { every(ctx, 300*time.Millisecond, func(n int) { l.send(ctx, w, n) }) })
	l.wg.Go(func() { every(ctx, 1500*time.Millisecond, func(n int) { l.command(ctx, w, n) }) })
}

func (l *load) end() {
	if l.cancel != nil {
		l.cancel()
		l.wg.Wait()
	}
}

func every(ctx context.Context, d time.Duration, f func(n int)) {
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(d):
			f(n)
		}
	}
}

// patience is how long a program may take that answers a person.
const patience = 90 * time.Second

// send hands some lines to one lane. What was confirmed must arrive; what was not may arrive.
func (l *load) send(ctx context.Context, w *world, nth int) {
	lane := []string{"alarm", "normal", "bulk"}[nth%3]
	var in strings.Builder
	var bodies []string
	for range 1 + rand.IntN(12) {
		l.lines++
		bodies = append(bodies, fmt.Sprintf("%s%d", linePrefix, l.lines))
		in.WriteString(bodies[len(bodies)-1] + "\n")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, "iotagent"), "--config", w.path("iotagent.toml"), "send", "--lines", "--json", "--lane", lane)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in.String()), &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		w.judge.note("iotagent send did not end within %s: %s", patience, errs.String())
	}
	n := 0
	for line := range strings.Lines(out.String()) {
		var m struct {
			ID string `json:"message_id"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil || n == len(bodies) {
			w.judge.note("iotagent send printed %q", line)
			return
		}
		w.judge.confirm(m.ID, bodies[n])
		n++
	}
	if err == nil && n != len(bodies) {
		w.judge.note("iotagent send succeeded with %d of %d lines confirmed", n, len(bodies))
	}
}

// command sends one command whose effect is a line in the file of effects.
func (l *load) command(ctx context.Context, w *world, nth int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, "hubctl"), "--connection-string-file", w.path("hub/service.connection-string"),
		"--ca", w.path("hub/ca.pem"), "send", device, "--command", "count", "--id", fmt.Sprintf("command-%d", nth), "--body", body(nth))
	l.mu.Lock()
	l.last = nth
	l.mu.Unlock()
	var took time.Time
	if cmd.Run() == nil {
		took = time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commands[body(nth)] = took
}

// effects returns how often each command took effect, how many the hub took, and how many of those had no effect and should have had one.
func (l *load) effects(w *world) (times map[string]int, took, without int, err error) {
	text, err := os.ReadFile(w.path("effects"))
	if err != nil {
		return nil, 0, 0, err
	}
	times = map[string]int{}
	for line := range strings.Lines(string(text)) {
		times[strings.TrimSpace(line)]++
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for body, sent := range l.commands {
		if sent.IsZero() {
			continue
		}
		took++
		if times[body] == 0 && !w.judge.expired(sent) {
			without++
		}
	}
	return times, took, without, nil
}

// sent is the number of the last command that was sent.
func (l *load) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// effectAfter reports whether a command with a higher number took effect.
func (l *load) effectAfter(w *world, last int) bool {
	times, _, _, err := l.effects(w)
	if err != nil {
		return false
	}
	for n := last + 1; n <= l.sent(); n++ {
		if times[body(n)] > 0 {
			return true
		}
	}
	return false
}

// body is that of the nth command, which is also its effect.
func body(n int) string { return fmt.Sprintf(`{"n":"%d"}`, n) }
