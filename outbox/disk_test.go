package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/outbox"
)

type safeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *safeLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *safeLog) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// TestDiskFull fills a real file system, with the outbox on it, and frees it again.
func TestDiskFull(t *testing.T) {
	mnt := t.TempDir()
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	t.Run("full", func(t *testing.T) { fillDisk(t, mnt) }) // its outbox is closed before the unmount
}

func fillDisk(t *testing.T, mnt string) {
	q := open(t, filepath.Join(mnt, "outbox"), &outbox.Options{MinFree: -1})
	ballast := filepath.Join(mnt, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	var ids []outbox.ID
	degraded := 0
	for i := range 1000 {
		got, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal, Body: fmt.Appendf(nil, "%04d%s", i, noise(i, 1020))})
		if err != nil && !errors.Is(err, outbox.ErrNotDurable) {
			t.Fatal(err)
		}
		if err != nil {
			degraded++
		}
		ids = append(ids, got...)
	}
	s := q.Stats()
	if degraded == 0 || degraded > 900 || !strings.Contains(s.Degraded, "no space") || s.RAMOnly == 0 {
		t.Fatalf("%d not durable, stats %+v", degraded, s)
	}
	es := next(t, q, 800)
	if len(es) != 800 { // from the disk and from memory
		t.Fatalf("%d handed out", len(es))
	}
	if err := os.Remove(ballast); err != nil { // acks on a full disk make room too
		t.Fatal(err)
	}
	if err := q.Ack(ids[:800]...); err != nil {
		t.Fatal(err)
	}
	if err := q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	es = next(t, q, 1000)
	for i, e := range es {
		if e.ID != ids[800+i] || string(e.Body[:4]) != fmt.Sprintf("%04d", 800+i) {
			t.Fatalf("entry %d is %s", i, e.ID)
		}
	}
	if s := q.Stats(); len(es) != 200 || s.Degraded != "" || s.RAMOnly != 0 {
		t.Fatalf("%d left, stats %+v", len(es), s)
	}
}

// TestAckDelay: acks are written after a second, not before, and at once when there are 1 000.
func TestAckDelay(t *testing.T) {
	dir := quickDir(t)
	synctest.Test(t, func(t *testing.T) {
		q := open(t, dir, nil)
		var ids []outbox.ID
		for range 13 {
			ids = append(ids, put(t, q, outbox.Bulk, strings.Split(strings.Repeat("x ", 99), " ")...)...)
		}
		next(t, q, 5000)
		before := q.Stats().Commits
		commits := func() uint64 { synctest.Wait(); return q.Stats().Commits - before }
		if err := q.Ack(ids[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second / 2)
		if err := q.Ack(ids[1]); err != nil {
			t.Fatal(err)
		}
		if n := commits(); n != 0 {
			t.Errorf("%d commits at once", n)
		}
		time.Sleep(501 * time.Millisecond)
		if n := commits(); n != 1 {
			t.Errorf("%d commits after a second", n)
		}
		if err := q.Ack(ids[2:1002]...); err != nil {
			t.Fatal(err)
		}
		if n := commits(); n != 2 {
			t.Errorf("%d commits after 1 000 acks", n)
		}
		time.Sleep(time.Hour)
		if n := commits(); n != 2 {
			t.Errorf("%d commits with nothing to write", n)
		}
	})
}

// TestGroupCommit: concurrent puts share commits.
func TestGroupCommit(t *testing.T) {
	q := open(t, t.TempDir(), nil)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 10 {
				put(t, q, outbox.Normal, "x")
			}
		})
	}
	wg.Wait()
	if s := q.Stats(); s.Commits >= 400 || s.Queued[outbox.Normal] != 640 || s.WrittenBytes < 4096*s.Commits {
		t.Errorf("stats %+v", s)
	}
}

func TestPutCancelled(t *testing.T) {
	q := open(t, t.TempDir(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ids, err := q.Put(ctx, outbox.Message{}); !errors.Is(err, context.Canceled) || ids != nil {
		t.Errorf("%v, %v", ids, err)
	}
	want(t, next(t, q, 1))
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	q := open(t, dir, nil)
	put(t, q, outbox.Normal, "x")
	for name, mode := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, "control.db": 0o600, "000000000001.seg": 0o600} {
		if name != dir {
			name = filepath.Join(dir, name)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode {
			t.Errorf("%s: %v", name, info.Mode())
		}
	}
}

// TestOwner: what root makes belongs to the owner of the directory around it.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	state := t.TempDir()
	if err := os.Chown(state, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(state, "outbox")
	q := open(t, dir, nil)
	put(t, q, outbox.Normal, "x")
	for _, name := range []string{dir, filepath.Join(dir, "control.db"), filepath.Join(dir, "000000000001.seg")} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 1234 || st.Gid != 4321 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
}

// TestLocked: a second opener gets a clear error at once, and the first is not disturbed.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, nil)
	_, err := outbox.Open(dir, &outbox.Options{LockWait: -1})
	if !errors.Is(err, outbox.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second open: %v", err)
	}
	if _, err := outbox.Inspect(dir); !errors.Is(err, outbox.ErrLocked) {
		t.Errorf("inspect: %v", err)
	}
	put(t, q, outbox.Normal, "1")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := outbox.Inspect(dir)
	if err != nil || s.Queued[outbox.Normal] != 1 || s.Bytes[outbox.Normal] != 1 || s.Oldest[outbox.Normal].IsZero() {
		t.Errorf("inspect: %+v, %v", s, err)
	}
	if s, err := outbox.Inspect(filepath.Join(dir, "none")); err != nil || s.Queued[1] != 0 {
		t.Errorf("inspect nothing: %+v, %v", s, err)
	}
}
