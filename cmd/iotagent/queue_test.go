package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"iotagent/agent"
	"iotagent/internal/cli"
	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// station is a gateway whose daemon is an agent on a queue in memory. Its configuration names a secret that does not exist, so that a
// command that reads it fails.
type station struct {
	t      *testing.T
	dir    string
	queue  *outboxtest.Memory
	config string
}

func newStation(t *testing.T, running bool) *station {
	t.Helper()
	s := &station{t: t, dir: t.TempDir(), queue: outboxtest.NewMemory(0x5eed)}
	s.config = filepath.Join(s.dir, "iotagent.toml")
	state := filepath.Join(s.dir, "state")
	text := "[hub]\nconnection_string_file = \"absent\"\n[agent]\nstate_dir = \"" + state + "\"\n"
	if err := errors.Join(os.WriteFile(s.config, []byte(text), 0o600), os.Mkdir(state, 0o700)); err != nil {
		t.Fatal(err)
	}
	if !running {
		return s
	}
	t.Setenv("RUNTIME_DIRECTORY", "")
	l, cleanup, err := listenControl(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { agent.NewControl(agent.New(&agent.Options{Queue: s.queue, Admin: s.queue}), nil).Serve(ctx, l) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		cleanup()
	})
	return s
}

// put queues n messages of two readings each.
func (s *station) put(lane outbox.Lane, n int) {
	s.t.Helper()
	for range n {
		e := agent.Envelope{ContentType: "text/plain", Body: []byte("hello")}
		if _, err := s.queue.Put(s.t.Context(), outbox.Message{Lane: lane, Readings: 2, Durable: true, Body: e.Encode()}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// do runs a command line and returns what it prints; the status must be the one wanted.
func (s *station) do(want int, args ...string) (out, log string) {
	s.t.Helper()
	var o, e bytes.Buffer
	if got := Main(s.t.Context(), append([]string{"--config", s.config, "queue"}, args...), cli.IO{In: strings.NewReader(""), Out: &o, Err: &e}); got != want {
		s.t.Errorf("queue %s: status %d, want %d\n%s%s", strings.Join(args, " "), got, want, &o, &e)
	}
	return o.String(), e.String()
}

func lines(s string) int { return strings.Count(s, "\n") }

func wantText(t *testing.T, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("%q is missing in:\n%s", text, got)
		}
	}
}

func TestQueueOfARunningDaemon(t *testing.T) {
	s := newStation(t, true)
	if out, _ := s.do(0, "list"); out != "nothing is queued\n" {
		t.Errorf("list of an empty queue: %q", out)
	}
	s.put(outbox.Alarm, 2)
	s.put(outbox.Bulk, 300)
	if _, err := s.queue.Next(1, 1<<20); err != nil {
		t.Fatal(err)
	}

	out, _ := s.do(0, "stats")
	wantText(t, out, "alarm     2 messages", "bulk      300 messages", "1 in flight", "dead letters  none")
	out, log := s.do(0, "list")
	wantText(t, out, "0000000000005eed-alarm-1", "in flight", "2 readings", "waiting")
	wantText(t, log, "there are more than these 100")
	if lines(out) != 100 {
		t.Errorf("%d lines, want 100", lines(out))
	}
	for want, args := range map[int][]string{
		302: {"list", "--limit", "0"}, 301: {"list", "--limit", "301", "--json"}, 2: {"list", "--lane", "alarm", "--lane", "normal"}, 300: {"export", "--lane", "bulk"},
	} {
		if out, _ := s.do(0, args...); lines(out) != want {
			t.Errorf("%q: %d lines, want %d", args, lines(out), want)
		}
	}
	out, _ = s.do(0, "check")
	wantText(t, out, "memory", "302 messages", "sound")

	out, _ = s.do(0, "purge", "--yes", "--older-than", "1h")
	wantText(t, out, "there is nothing to throw away")
	out, _ = s.do(0, "purge", "--yes", "--lane", "bulk")
	wantText(t, out, "300 messages with 600 readings (bulk 300) thrown away. The hub will be told by gap messages.")
	out, _ = s.do(0, "list", "--lane", "bulk")
	wantText(t, out, "gap: 300 messages (1 to 300) with 600 readings purged by hand")
}

func TestQueueDeadLetters(t *testing.T) {
	s := newStation(t, true)
	s.put(outbox.Normal, 1)
	es, err := s.queue.Next(1, 1<<20)
	if err := errors.Join(err, s.queue.Reject(es[0].ID, "too large")); err != nil {
		t.Fatal(err)
	}
	out, _ := s.do(0, "list", "--dead")
	wantText(t, out, "0000000000005eed-normal-1", "refused", "too large")
	out, _ = s.do(0, "export", "--dead")
	wantText(t, out, `"body":"hello"`, `"reason":"too large"`)
	out, _ = s.do(0, "purge", "--dead", "--yes")
	wantText(t, out, "1 dead letters thrown away.\n")
	out, _ = s.do(0, "list", "--dead")
	wantText(t, out, "no dead letters")
}

func TestQueueCheckTellsWhatToRun(t *testing.T) {
	s := newStation(t, true)
	s.queue.Damage(outbox.FileReport{Name: "000000000001.seg", Messages: 5, Problem: "cut short", Lost: 3})
	out, log := s.do(1, "check")
	wantText(t, out, "DAMAGED: cut short")
	wantText(t, log, "1 of 1 files damaged", "hint: iotagent --config "+s.config+" queue repair")
	out, _ = s.do(0, "repair")
	wantText(t, out, "repaired: cut short; 5 messages salvaged, 3 lost, of which the hub is told")
	s.do(0, "check", "--json")
}

func TestQueueRefusals(t *testing.T) {
	s := newStation(t, true)
	s.put(outbox.Bulk, 1)
	for text, args := range map[string][]string{
		"nobody to ask":                   {"purge"},
		"neither by lane nor by age":      {"purge", "--dead", "--lane", "bulk", "--yes"},
		"dead letters go all together":    {"purge", "--dead", "--older-than", "1h", "--yes"},
		"--older-than is less than":       {"purge", "--older-than=-1h", "--yes"},
		"--limit -1 is less than nothing": {"list", "--limit=-1"},
		`must be one of "alarm"`:          {"export", "--lane", "fast"},
	} {
		_, log := s.do(80, args...)
		wantText(t, log, text)
	}
	if n := s.queue.Stats().Queued[outbox.Bulk]; n != 1 {
		t.Error("a refused purge threw something away")
	}
	s.queue.Fail(errors.New("the disk is gone"))
	for _, args := range [][]string{{"list"}, {"export"}, {"check"}, {"repair"}, {"purge", "--yes"}} {
		_, log := s.do(1, args...)
		wantText(t, log, "the disk is gone")
	}
}

func TestQueuePurgeAsks(t *testing.T) {
	rows := map[string]struct {
		c              queuePurge
		answer, prompt string
		left           uint64
	}{
		"yes":           {queuePurge{}, "y\n", "3 messages with 6 readings (alarm 1, bulk 2) will be thrown away. The hub will be told by gap messages.\nGo on? [y/N] ", 0},
		"in full":       {queuePurge{}, " YES \n", "Go on?", 0},
		"no":            {queuePurge{}, "n\n", "Go on?", 3},
		"nothing typed": {queuePurge{}, "", "Go on?", 3},
		"a lane":        {queuePurge{lanesFlag: lanesFlag{Lane: []string{"bulk"}}}, "y\n", "2 messages with 4 readings (bulk 2)", 1},
		"by age":        {queuePurge{OlderThan: time.Nanosecond}, "no", "all put before ", 3},
		"nothing to do": {queuePurge{OlderThan: time.Hour}, "y\n", "", 3},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			s := newStation(t, false)
			s.put(outbox.Alarm, 1)
			s.put(outbox.Bulk, 2)
			var out, prompt bytes.Buffer
			err := row.c.purge(t.Context(), cli.IO{In: strings.NewReader(row.answer), Out: &out, Err: &prompt}, directAsker(s.queue, nil), true)
			wantText(t, prompt.String(), row.prompt)
			if row.prompt == "" && prompt.Len() > 0 {
				t.Errorf("it asked %q", &prompt)
			}
			refused := row.left == 3 && row.prompt != ""
			if refused != (err != nil) {
				t.Errorf("error %v", err)
			}
			left := uint64(0)
			err = s.queue.Scan(t.Context(), outbox.ScanOptions{}, func(it outbox.Item) error {
				if it.Gap == nil {
					left++
				}
				return nil
			})
			if err != nil || left != row.left {
				t.Errorf("%d messages left, want %d: %v", left, row.left, err)
			}
		})
	}
}

// A signal ends the question.
func TestQueuePurgeIsInterrupted(t *testing.T) {
	s := newStation(t, false)
	s.put(outbox.Bulk, 1)
	in, typed := io.Pipe()
	defer func() { _ = typed.Close() }() // ends the read that was left behind
	ctx, cancel := context.WithCancel(t.Context())
	prompted := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	err := (&queuePurge{}).purge(ctx, cli.IO{In: in, Out: io.Discard, Err: prompted}, directAsker(s.queue, nil), true)
	if !errors.Is(err, context.Canceled) || s.queue.Stats().Queued[outbox.Bulk] != 1 {
		t.Errorf("error %v, %d left", err, s.queue.Stats().Queued[outbox.Bulk])
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Looking into an outbox that does not exist yet finds nothing and makes nothing.
func TestQueueThatNeverWas(t *testing.T) {
	s := newStation(t, false)
	for text, args := range map[string][]string{
		"nothing is queued":         {"list"},
		"":                          {"export"},
		"nothing was ever queued":   {"check"},
		"no files":                  {"repair"},
		"nothing to throw away":     {"purge", "--yes"},
		"no dead letters":           {"list", "--dead"},
		"together  0 messages  0 B": {"stats"},
	} {
		out, _ := s.do(0, args...)
		wantText(t, out, text)
	}
	left, err := os.ReadDir(filepath.Join(s.dir, "state"))
	if err != nil || len(left) != 0 {
		t.Errorf("the state directory holds %v, %v", left, err)
	}
}

func TestExportIntoAFile(t *testing.T) {
	s := newStation(t, true)
	s.put(outbox.Normal, 3)
	path := filepath.Join(s.dir, "out.jsonl")
	check := func(what string, want int) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil || lines(string(b)) != want {
			t.Errorf("%s: %d lines, want %d: %v", what, lines(string(b)), want, err)
		}
		if left, _ := filepath.Glob(filepath.Join(s.dir, ".*.new")); len(left) > 0 { // a bad pattern alone fails
			t.Errorf("%s: left behind %q", what, left)
		}
	}
	out, _ := s.do(0, "export", "--output", path)
	wantText(t, out, "3 entries written to "+path)
	check("first", 3)
	s.put(outbox.Normal, 1)
	_, log := s.do(1, "export", "--output", path)
	wantText(t, log, path+" exists", "add --force")
	check("refused", 3)
	s.do(0, "export", "--output", path, "--force")
	check("forced", 4)
	s.queue.Fail(errors.New("the disk is gone"))
	_, log = s.do(1, "export", "--output", path, "--force")
	wantText(t, log, "incomplete after 0 entries", "the disk is gone")
	check("failed", 4)
	_, log = s.do(1, "export", "--output", os.DevNull, "--force")
	wantText(t, log, "is no ordinary file")
	_, log = s.do(1, "export", "--output", filepath.Join(s.dir, "absent", "x"))
	wantText(t, log, "no such file or directory")
}

// A half-written export leaves the file as it was.
func TestExportIsAllOrNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	half := func(_ context.Context, _ agent.Request, each func(*agent.Answer) error) error {
		return errors.Join(each(&agent.Answer{Entries: someEntries(), More: true}), errors.New("the daemon hung up"))
	}
	c := &queueExport{Output: path, Force: true}
	if err := c.export(t.Context(), cli.IO{Out: io.Discard}, half); err == nil || !strings.Contains(err.Error(), "incomplete after 6 entries") {
		t.Errorf("error %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "before\n" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}
