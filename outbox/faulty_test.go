package outbox_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// faulty opens files that cannot be written, or none at all, while it is told to.
type faulty struct {
	readOnly, none atomic.Bool
	mu             sync.Mutex
	files          []*os.File
}

func (f *faulty) open(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if f.none.Load() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EIO}
	}
	if f.readOnly.Load() && flag&os.O_RDWR != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	fd, err := os.OpenFile(name, flag, perm)
	if err == nil && flag&os.O_RDWR != 0 {
		f.mu.Lock()
		f.files = append(slices.DeleteFunc(f.files, closed), fd)
		f.mu.Unlock()
	}
	return fd, err
}

func closed(f *os.File) bool { return f.Fd() == ^uintptr(0) }

// breakNow makes the next writes to the files that are open fail: their descriptors become ones that can only be read. Nothing may be
// under way.
func (f *faulty) breakNow(t *testing.T) {
	t.Helper()
	f.readOnly.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fd := range f.files {
		if closed(fd) {
			continue
		}
		ro, err := os.Open(fd.Name())
		if err != nil {
			continue // a segment that was removed
		}
		if err := errors.Join(unix.Dup3(int(ro.Fd()), int(fd.Fd()), unix.O_CLOEXEC), ro.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEveryOpenFails fails each file that is opened in turn, and the two after it. All goes on in memory and heals within 5 s, and
// nothing is lost.
func TestEveryOpenFails(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.EROFS, syscall.ENOSPC} {
		for _, loss := range []time.Duration{0, time.Hour} {
			t.Run(fmt.Sprintf("%s/%s", errno, loss), func(t *testing.T) {
				t.Parallel()
				root := quickDir(t)
				for n := 1; ; n++ {
					fails := 0
					synctest.Test(t, func(t *testing.T) { fails = openFails(t, fmt.Sprint(root, "/", n), loss, errno, n) })
					if t.Failed() {
						t.Fatalf("with call %d failing", n)
					}
					if fails == 0 {
						if n < 8 {
							t.Errorf("only %d files were opened", n)
						}
						return
					}
				}
			})
		}
	}
}

func openFails(t *testing.T, dir string, loss time.Duration, errno syscall.Errno, n int) (fails int) {
	var calls, failed atomic.Int64
	o := &outbox.Options{MaxBytes: 1 << 20, MinFree: -1, MaxLoss: loss}
	o.OpenFile = func(name string, flag int, perm fs.FileMode) (*os.File, error) {
		if c := int(calls.Add(1)); c >= n && c < n+3 {
			failed.Add(1)
			return nil, &fs.PathError{Op: "open", Path: name, Err: errno}
		}
		return os.OpenFile(name, flag, perm)
	}
	bodies, acked := map[outbox.ID]string{}, map[outbox.ID]bool{}
	for round := range 2 {
		q, err := outbox.Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 12 { // over two segments
			for lane := range outbox.Lane(3) {
				body := fmt.Sprintf("%d/%d/%d %s", round, i, lane, noise(i, 4000))
				ids, err := q.Put(t.Context(), outbox.Message{Lane: lane, Body: []byte(body), Durable: i%2 == 0})
				if err != nil && !errors.Is(err, outbox.ErrNotDurable) {
					t.Fatal(err)
				}
				bodies[ids[0]] = body
			}
			if err := q.Sync(t.Context()); err != nil && !errors.Is(err, outbox.ErrNotDurable) {
				t.Fatal(err)
			}
			for _, e := range next(t, q, 2) {
				take(t, q, e, bodies, acked)
			}
		}
		time.Sleep(15 * time.Second) // three tries
		if s := q.Stats(); s.Degraded != "" {
			t.Errorf("15 s later: %+v", s)
		}
		if round == 1 {
			drainAll(t, q, bodies, acked)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		outboxtest.Check(t, dir)
	}
	if len(acked) != len(bodies) {
		t.Errorf("%d of %d messages came out", len(acked), len(bodies))
	}
	return int(failed.Load())
}

func take(t *testing.T, q *outbox.Outbox, e outbox.Entry, bodies map[outbox.ID]string, acked map[outbox.ID]bool) {
	t.Helper()
	if e.Gap != nil {
		t.Fatalf("gap %+v", e.Gap)
	}
	if string(e.Body) != bodies[e.ID] || acked[e.ID] {
		t.Fatalf("%s came out as %.20q, acked before: %v", e.ID, e.Body, acked[e.ID])
	}
	if err := q.Ack(e.ID); err != nil {
		t.Fatal(err)
	}
	acked[e.ID] = true
}

func drainAll(t *testing.T, q *outbox.Outbox, bodies map[outbox.ID]string, acked map[outbox.ID]bool) {
	t.Helper()
	for len(acked) < len(bodies) {
		es := next(t, q, 10)
		for _, e := range es {
			take(t, q, e, bodies, acked)
		}
		synctest.Wait()
		if s := q.Stats(); len(es) == 0 && s.Degraded == "" {
			t.Fatalf("nothing more comes: %+v", s)
		} else if len(es) == 0 {
			time.Sleep(time.Second)
		}
	}
}

// TestDiskFails: messages wait in memory, are handed out in order behind what is on disk, and are written when it works again.
func TestDiskFails(t *testing.T) {
	dir := quickDir(t)
	synctest.Test(t, func(t *testing.T) {
		disk, log := new(faulty), new(safeLog)
		q, err := outbox.Open(dir, &outbox.Options{OpenFile: disk.open, MaxRAM: 4000, Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		ids := put(t, q, outbox.Normal, "disk1", "disk2", "disk3")
		want(t, next(t, q, 1), "disk1")
		synctest.Wait()
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
		if _, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Bulk, Body: make([]byte, 3700)}); !errors.Is(err, outbox.ErrFull) {
			t.Fatalf("memory full: %v", err)
		}
		time.Sleep(10 * time.Minute) // virtual: many tries
		disk.readOnly.Store(false)
		time.Sleep(5 * time.Second)
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

// TestOpenOnDeadDisk: no file can be opened at the start. What is put meanwhile keeps its ids and comes behind the backlog, but for
// what was handed out before.
func TestOpenOnDeadDisk(t *testing.T) {
	dir := quickDir(t)
	synctest.Test(t, func(t *testing.T) {
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
		ids := make([]outbox.ID, 0, 5)
		for i := range 5 {
			got, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal, Body: fmt.Append(nil, "new", i+1)})
			if !errors.Is(err, outbox.ErrNotDurable) {
				t.Fatal(err)
			}
			ids = append(ids, got...)
		}
		if _, err := q.DeadLetters(1); !errors.Is(err, outbox.ErrNotDurable) {
			t.Errorf("dead letters: %v", err)
		}
		want(t, next(t, q, 4), "new1", "new2", "new3", "new4")
		q.Release(ids[1])
		if err := q.Reject(ids[2], "no"); !errors.Is(err, outbox.ErrNotDurable) {
			t.Errorf("reject: %v", err)
		}
		disk.none.Store(false)
		time.Sleep(5 * time.Second)
		if s := q.Stats(); s.Degraded != "" || s.Queued[outbox.Normal] != 6 || s.InFlight != 2 || s.Dead != 1 {
			t.Fatalf("stats %+v", s)
		}
		if err := q.Ack(ids[3]); err != nil { // it stands behind what was not handed out yet
			t.Fatal(err)
		}
		es := next(t, q, 9)
		want(t, es, "new2 again", "old1 again", "old2 again", "new5")
		if es[3].ID != ids[4] {
			t.Errorf("%s became %s", ids[4], es[3].ID)
		}
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
	for range 2 {
		if err := q.Close(); err == nil || !strings.Contains(err.Error(), "1 messages are lost") {
			t.Errorf("close: %v", err)
		}
	}
}

// TestMemoryIsBounded: while the disk does not work, memory holds what is most urgent; what is lost is declared, bulk first.
func TestMemoryIsBounded(t *testing.T) {
	dir := quickDir(t)
	synctest.Test(t, func(t *testing.T) {
		disk := new(faulty)
		const ram = 100 << 10
		q := open(t, dir, &outbox.Options{OpenFile: disk.open, MaxRAM: ram, MaxLoss: time.Hour})
		put(t, q, outbox.Normal, "first") // the files are made
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		disk.breakNow(t)
		putMany := func(lane outbox.Lane, durable bool, n int) (full int) {
			for range n {
				_, err := q.Put(t.Context(), outbox.Message{Lane: lane, Body: make([]byte, 840), Readings: 3, Durable: durable})
				if errors.Is(err, outbox.ErrFull) {
					full++
				} else if err != nil && !errors.Is(err, outbox.ErrNotDurable) {
					t.Fatal(err)
				}
			}
			return full
		}
		// 100 messages fit. Each step displaces what is less urgent, oldest first, and never what is durable or in flight.
		putMany(outbox.Normal, false, 30)
		putMany(outbox.Bulk, true, 10)
		putMany(outbox.Bulk, false, 200)
		check := func(what string, dropped [3]uint64) {
			t.Helper()
			s := q.Stats()
			if s.Dropped != dropped || s.RAMOnly > ram/1000 || s.RAMOnly < ram/1000-2 || s.Degraded == "" {
				t.Errorf("%s: %+v, want dropped %v", what, s, dropped)
			}
		}
		check("bulk", [3]uint64{0, 0, 138})
		want(t, next(t, q, 2), "first", string(make([]byte, 840)))
		putMany(outbox.Normal, false, 62)
		check("normal for bulk", [3]uint64{0, 0, 200})
		putMany(outbox.Alarm, false, 95)
		check("alarms for all", [3]uint64{4, 91, 200})
		if full := putMany(outbox.Normal, false, 3); full != 3 {
			t.Errorf("%d of 3 normal ones did not fit between alarms", full)
		}
		putMany(outbox.Alarm, true, 91)
		if full := putMany(outbox.Alarm, true, 3); full != 3 {
			t.Errorf("%d of 3 durable alarms did not fit between durable ones", full)
		}
		disk.readOnly.Store(false)
		time.Sleep(10 * time.Second) // two files, each found to be broken on its own
		declaredInMemory(t, q)
	})
}

// declaredInMemory drains an outbox that has lost messages for want of memory and compares the gaps with its counts.
func declaredInMemory(t *testing.T, q *outbox.Outbox) {
	t.Helper()
	var declared, came [3]uint64
	last := map[outbox.Lane]uint64{}
	for es := next(t, q, 10); len(es) > 0; es = next(t, q, 10) {
		for _, e := range es {
			if g := e.Gap; g != nil {
				if g.Reason != "memory" || g.AtMost || g.Readings != 3*g.Messages || g.From <= last[g.Lane] || g.To-g.From+1 < g.Messages {
					t.Errorf("gap behind %d: %+v", last[g.Lane], g)
				}
				declared[g.Lane] += g.Messages
				last[g.Lane] = g.To
			} else if came[e.ID.Lane]++; !e.Sent {
				if e.ID.Seq <= last[e.ID.Lane] {
					t.Errorf("%s behind %d", e.ID, last[e.ID.Lane])
				}
				last[e.ID.Lane] = e.ID.Seq
			}
			if err := q.Ack(e.ID); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
	}
	s := q.Stats()
	if declared != s.Dropped || s.Degraded != "" || s.Queued[0]+s.Queued[2] > 0 {
		t.Errorf("declared %v, came %v, %+v", declared, came, s)
	}
}
