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
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/outbox"
)

// faulty opens files that cannot be written, or none at all, while it is told to.
type faulty struct {
	readOnly, none atomic.Bool
	mu             sync.Mutex
	last           *os.File
}

func (f *faulty) open(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if f.none.Load() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EIO}
	}
	if f.readOnly.Load() && flag&os.O_RDWR != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	fd, err := os.OpenFile(name, flag, perm)
	if flag&os.O_RDWR != 0 {
		f.mu.Lock()
		f.last = fd
		f.mu.Unlock()
	}
	return fd, err
}

// breakNow makes the next write of the file that is open fail: its descriptor becomes one that can only be read.
func (f *faulty) breakNow(t *testing.T) {
	t.Helper()
	f.readOnly.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	ro, err := os.Open(f.last.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ro.Close() }()
	if err := unix.Dup3(int(ro.Fd()), int(f.last.Fd()), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

type safeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

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

// TestDiskFails: messages wait in memory, are handed out in order behind what is on disk, and are written when it works again.
func TestDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		disk, log := new(faulty), new(safeLog)
		q, err := outbox.Open(dir, &outbox.Options{OpenFile: disk.open, MaxRAM: 4000, Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ids := put(t, q, outbox.Normal, "disk1", "disk2", "disk3")
		want(t, next(t, q, 1), "disk1")
		disk.breakNow(t)
		for i := range 3 {
			got, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal, Body: fmt.Append(nil, "ram", i+1)})
			if !errors.Is(err, outbox.ErrNotDurable) || len(got) != 1 || got[0].Seq != uint64(4+i) {
				t.Fatalf("put %d: %v, %v", i, got, err)
			}
			ids = append(ids, got...)
		}
		s := q.Stats()
		if s.Degraded == "" || s.RAMOnly != 3 || s.Queued[outbox.Normal] != 6 {
			t.Fatalf("stats %+v", s)
		}
		want(t, next(t, q, 4), "disk2", "disk3", "ram1", "ram2")
		if err := q.Ack(ids[0], ids[3]); err != nil { // one on disk, one in memory
			t.Fatal(err)
		}
		q.Release(ids[4], ids[1])
		want(t, next(t, q, 1), "disk2 again")
		if err := q.Reject(ids[1], "no"); !errors.Is(err, outbox.ErrNotDurable) {
			t.Fatalf("reject: %v", err)
		}
		if err := q.Sync(t.Context()); !errors.Is(err, outbox.ErrNotDurable) {
			t.Fatalf("sync: %v", err)
		}
		if _, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Bulk, Body: make([]byte, 3900)}); !errors.Is(err, outbox.ErrFull) {
			t.Fatalf("memory full: %v", err)
		}
		time.Sleep(10 * time.Minute) // virtual: many tries
		disk.readOnly.Store(false)
		time.Sleep(2 * time.Minute)
		if s := q.Stats(); s.Degraded != "" || s.RAMOnly != 0 || s.Queued[outbox.Normal] != 3 || s.Dead != 1 {
			t.Fatalf("after recovery: %+v", s)
		}
		if n, m := log.count("does not work"), log.count("works again"); n != 1 || m != 1 {
			t.Errorf("said %d and %d times", n, m)
		}
		put(t, q, outbox.Normal, "new")
		want(t, next(t, q, 5), "ram2 again", "ram3", "new")
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		q = open(t, dir, nil)
		want(t, next(t, q, 9), "disk3 again", "ram2 again", "ram3 again", "new again")
	})
}

// TestOpenOnDeadDisk: the file cannot even be opened at the start; what is put meanwhile comes behind the backlog, with its ids.
func TestOpenOnDeadDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		q, err := outbox.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		put(t, q, outbox.Normal, "old1", "old2")
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		disk := new(faulty)
		disk.none.Store(true)
		q = open(t, dir, &outbox.Options{OpenFile: disk.open})
		ids := make([]outbox.ID, 0, 3)
		for i := range 3 {
			got, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal, Body: fmt.Append(nil, "new", i+1)})
			if !errors.Is(err, outbox.ErrNotDurable) {
				t.Fatal(err)
			}
			ids = append(ids, got...)
		}
		want(t, next(t, q, 2), "new1", "new2")
		q.Release(ids[1])
		disk.none.Store(false)
		time.Sleep(2 * time.Minute)
		if s := q.Stats(); s.Degraded != "" || s.Queued[outbox.Normal] != 5 || s.InFlight != 1 {
			t.Fatalf("stats %+v", s)
		}
		want(t, next(t, q, 9), "new2 again", "old1 again", "old2 again", "new3")
		if err := q.Ack(ids...); err != nil {
			t.Fatal(err)
		}
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); s.Queued[outbox.Normal] != 2 {
			t.Fatalf("stats %+v", s)
		}
	})
}

// TestLostAtClose: what never reached the disk is said to be lost.
func TestLostAtClose(t *testing.T) {
	disk := new(faulty)
	disk.none.Store(true)
	q, err := outbox.Open(t.TempDir(), &outbox.Options{OpenFile: disk.open})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Put(t.Context(), outbox.Message{}); !errors.Is(err, outbox.ErrNotDurable) {
		t.Fatal(err)
	}
	if err := q.Close(); err == nil || !strings.Contains(err.Error(), "1 messages are lost") {
		t.Errorf("close: %v", err)
	}
}

// TestDiskFull fills a real file system of 1 MiB, with the outbox on it, and frees it again.
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
	t.Run("full", func(t *testing.T) { // its outbox is closed before the unmount
		dir := filepath.Join(mnt, "outbox")
		q := open(t, dir, nil)
		ballast := filepath.Join(mnt, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 300<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		var ids []outbox.ID
		degraded := 0
		for i := range 1000 {
			got, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal, Body: fmt.Appendf(nil, "%04d%01020d", i, 0)})
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
		es := next(t, q, 10)
		if err := q.Ack(es[0].ID); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		half := ids[1:500] // still more than fits: acks on a full disk make room
		for len(es) < 500 {
			es = append(es, next(t, q, 500-len(es))...)
		}
		if err := q.Ack(half...); err != nil {
			t.Fatal(err)
		}
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		es = next(t, q, 1000)
		for i, e := range es {
			if e.ID != ids[500+i] || string(e.Body[:4]) != fmt.Sprintf("%04d", 500+i) {
				t.Fatalf("entry %d is %s", i, e.ID)
			}
		}
		if s := q.Stats(); len(es) != 500 || s.Degraded != "" || s.RAMOnly != 0 {
			t.Fatalf("%d left, stats %+v", len(es), s)
		}
	})
}

// TestAckDelay: acks are written after a second, not before, and at once when there are 1 000.
func TestAckDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t, t.TempDir(), nil)
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
	open(t, dir, nil)
	for name, mode := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, filepath.Join(dir, "outbox.db"): 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
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
	open(t, dir, nil)
	for _, name := range []string{dir, filepath.Join(dir, "outbox.db")} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 1234 || st.Gid != 4321 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
}

// TestRepairInterrupted: a crash between the two renames of a repair is finished by the next Open, a half written one is forgotten.
func TestRepairInterrupted(t *testing.T) {
	dir := t.TempDir()
	q, err := outbox.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, q, outbox.Normal, "kept")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	db := filepath.Join(dir, "outbox.db")
	if err := os.Rename(db, db+".salvaged"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{db, db + ".salvaging"} {
		if err := os.WriteFile(name, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	q = open(t, dir, nil)
	want(t, next(t, q, 5), "kept again")
	if s := q.Stats(); len(s.SetAside) != 1 {
		t.Errorf("set aside: %v", s.SetAside)
	}
	left, err := filepath.Glob(db + ".salvag*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
