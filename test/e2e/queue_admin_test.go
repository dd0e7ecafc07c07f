package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// These tests look into the outbox's files through `iotagent queue`.

// exported is a line of an export, as far as the tests look at it.
type exported struct {
	MessageID   string `json:"message_id"`
	Lane        string
	Properties  map[string]string
	ContentType string `json:"content_type"`
	Body        string
	Durable     bool
	MemoryOnly  bool `json:"memory_only"`
	Gap         *struct {
		From, To, Messages uint64
		Reason             string
	}
}

func parseExport(t *testing.T, text string) []exported {
	t.Helper()
	var all []exported
	for dec := json.NewDecoder(strings.NewReader(text)); ; {
		var e exported
		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

func TestQueueListAndExport(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, running bool) {
		_, b, _ := queued(t, running)
		list := b.do(0, "", "queue", "list").out.String()
		if strings.Count(list, "\n") != 12 || strings.Count(list, "-normal-") != 7 {
			t.Errorf("list:\n%s", list)
		}
		short := b.do(0, "", "queue", "list", "--lane", "bulk", "--lane", "alarm", "--limit", "2", "--json")
		short.mentions("there are more than these 2")
		if es := parseExport(t, short.out.String()); len(es) != 2 || es[0].Lane != "alarm" || es[1].Lane != "bulk" || es[0].MemoryOnly {
			t.Errorf("short list: %+v", es)
		}
		path := filepath.Join(b.dir, "out.jsonl")
		b.do(0, "", "queue", "export", "--output", path).mentions("12 entries written to " + path)
		b.do(1, "", "queue", "export", "--output", path).mentions("exists", "--force")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if again := b.do(0, "", "queue", "export").out.String(); again != string(text) && !running {
			t.Error("two exports of a stopped daemon's queue differ")
		}
		es := parseExport(t, string(text))
		if len(es) != 12 {
			t.Fatalf("%d entries", len(es))
		}
		if e := es[0]; e.Body != "hot <ä>" || e.Properties["site"] != "7" || e.ContentType != "text/plain" || !e.Durable || e.MessageID != e.Properties["epoch"]+"-alarm-1" {
			t.Errorf("%+v", e)
		}
		var lines []string
		for _, e := range es[8:] {
			lines = append(lines, e.Body)
		}
		if want := []string{"one", "two", "three", "four"}; !slices.Equal(lines, want) {
			t.Errorf("bulk %q, want %q", lines, want)
		}
		b.do(0, "", "queue", "list", "--dead").mentions("no dead letters")
		b.do(0, "", "queue", "check").mentions("sound")
	})
}

// Looking at the queue of a stopped daemon changes no byte of it.
func TestQueueLooksOnly(t *testing.T) {
	t.Parallel()
	_, b, _ := queued(t, false)
	before := snapshot(t, filepath.Join(b.state, "outbox"))
	for _, args := range [][]string{{"stats"}, {"list"}, {"export"}, {"check"}, {"list", "--dead"}} {
		b.do(0, "", append([]string{"queue"}, args...)...)
		if diff := cmp.Diff(before, snapshot(t, filepath.Join(b.state, "outbox"))); diff != "" {
			t.Errorf("queue %s changed the outbox (-before +after):\n%.2000s", args, diff)
		}
	}
}

// snapshot returns the contents of a directory's files.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[d.Name()] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What is purged does not reach the hub, and the hub is told.
func TestQueuePurge(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, running bool) {
		h, b, d := queued(t, running)
		b.do(0, "", "queue", "purge", "--yes", "--older-than", "1h").mentions("there is nothing to throw away")
		b.do(0, "", "queue", "purge", "--yes", "--lane", "bulk").mentions("4 messages with 0 readings (bulk 4) thrown away", "The hub will be told")
		b.do(0, "", "queue", "purge", "--yes", "--dead").mentions("there is nothing to throw away")
		b.do(0, "", "queue", "list", "--lane", "bulk").mentions("gap: 4 messages (1 to 4)", "purged by hand")
		if running {
			d.stop()
		}
		h.SetTelemetryCredit(1000)
		b.do(0, "", "run", "--until-drained")
		if got := len(h.ofKind("")); got != 8 {
			t.Errorf("%d messages arrived, want 8", got)
		}
		gaps := h.ofKind("gap")
		if len(gaps) != 1 || gaps[0].lane != "bulk" || !strings.Contains(gaps[0].body, `"reason":"purged"`) || !strings.Contains(gaps[0].body, `"messages":4`) {
			t.Errorf("gaps %+v", gaps)
		}
	})
}

// At a terminal a person is asked, and told what goes.
func TestQueuePurgeAsks(t *testing.T) {
	t.Parallel()
	_, b, _ := queued(t, false)
	for _, row := range []struct {
		answer string
		status int
		left   uint64
	}{{"n\n", 1, 12}, {"y\n", 0, 9}} { // nine: the alarm, seven and the gap
		keyboard, terminal := pty(t)
		p := b.iotagent(terminal, "queue", "purge", "--lane", "bulk")
		p.says("4 messages with 0 readings (bulk 4) will be thrown away")
		if _, err := keyboard.WriteString(row.answer); err != nil {
			t.Fatal(err)
		}
		if status := p.wait(); status != row.status {
			t.Errorf("%q: status %d, want %d", row.answer, status, row.status)
		}
		if n := b.status().queued(); n != row.left {
			t.Errorf("%q: %d entries queued, want %d", row.answer, n, row.left)
		}
	}
}

// pty returns both ends of a terminal (pts(4)).
func pty(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = keyboard.Close() }) // typed on, nothing to lose
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = terminal.Close() }) // as above
	return keyboard, terminal
}

// A damaged file is found and named, repaired when asked for, and what is lost is declared.
func TestQueueCheckAndRepair(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, running bool) {
		h, b, d := queued(t, running)
		b.do(0, "", "send", "--count", "400", "--size", "300")
		b.do(0, "", "queue", "check").mentions("sound")
		name := filepath.Base(damage(t, b))
		check := b.do(1, "", "queue", "check")
		check.mentions(name, "queue repair")
		check.mentions("DAMAGED", "files damaged")
		b.do(0, "", "queue", "repair").mentions(name)
		b.do(0, "", "queue", "check").mentions("sound")
		if running {
			d.stop()
		}
		h.SetTelemetryCredit(1000)
		b.do(0, "", "run", "--until-drained")
		if n, unknown := declared(t, h); len(h.ofKind(""))+n < 412 && !unknown {
			t.Errorf("%d messages arrived and %d were declared lost, of 412", len(h.ofKind("")), n)
		}
	})
}

// damage writes over the middle of the largest segment, in place, and returns its name.
func damage(t *testing.T, b *box) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(b.state, "outbox", "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	var path string
	var data []byte
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if text = bytes.TrimRight(text, "\x00"); len(text) > len(data) {
			path, data = name, text
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // there to be damaged
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, len(data)/2), int64(len(data)/4)); err != nil {
		t.Fatal(err)
	}
	return path
}

// What root does to the queue of a stopped daemon leaves files that the daemon's user can open.
func TestQueueKeepsTheOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const owner = 12345
	_, b, _ := queued(t, false)
	chown := func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, owner, owner)
	}
	if err := filepath.WalkDir(b.state, chown); err != nil {
		t.Fatal(err)
	}
	damage(t, b)
	b.do(0, "", "queue", "repair")
	b.do(0, "", "queue", "purge", "--yes", "--lane", "normal")
	err := filepath.WalkDir(b.state, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != owner {
			t.Errorf("%s belongs to %d", path, st.Uid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// An export takes no more memory however long the queue is, neither the command's nor the daemon's.
func TestQueueExportStreams(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, running bool) {
		_, b, d := queued(t, running)
		b.do(0, "", "send", "--count", "30000", "--size", "2000", "--lane", "bulk") // 60 MB
		before := 0
		if running {
			before = anonymous(t, d.cmd.Process.Pid)
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv(binaries), "iotagent"), "--config", b.config, "queue", "export")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		total, most, daemon := 0, 0, 0
		for chunk := make([]byte, 1<<20); ; {
			n, err := io.ReadFull(out, chunk)
			if total += n; err != nil {
				break // its end; the status says whether it was a good one
			}
			most = max(most, anonymous(t, cmd.Process.Pid)) // not reaped before Wait, so it is there
			if running {
				daemon = max(daemon, anonymous(t, d.cmd.Process.Pid)-before)
			}
		}
		if err := cmd.Wait(); err != nil || total < 60e6 {
			t.Fatalf("%d bytes, %v", total, err)
		}
		t.Logf("%d bytes exported with %d in memory, %d more in the daemon's", total, most, daemon)
		if most == 0 || most > 30e6 || daemon > 30e6 {
			t.Errorf("%d bytes exported with %d in memory, %d more in the daemon's", total, most, daemon)
		}
	})
}

// anonymous is the memory of a process that no file holds (proc_pid_status(5)), 0 of one that has just ended.
func anonymous(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "RssAnon:")
	if !ok {
		return 0
	}
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
