package faults

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/outbox"
)

// TestTwoDaemons opens one directory twice, from this process and another one. The second one is told, and nothing changes.
func TestTwoDaemons(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(memoryDir(t), "outbox")
	q, err := outbox.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal, Durable: true, Body: []byte("first")})
	if err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	if _, err := outbox.Open(dir, &outbox.Options{LockWait: -1}); !errors.Is(err, outbox.ErrLocked) {
		t.Errorf("from the same process: %v", err)
	}
	p := start(t, job{Dir: dir})
	<-p.ended
	if err := p.cmd.Wait(); err == nil || !strings.Contains(p.complaints(), outbox.ErrLocked.Error()) {
		t.Errorf("from another process: %v, %s%s", err, p.complaints(), p.stderr.String())
	}
	if d := cmp.Diff(before, contents(t, dir)); d != "" {
		t.Errorf("the second one changed files:\n%s", d)
	}
	es, err := q.Next(10, 1<<20)
	if err != nil || len(es) != 1 || es[0].ID != ids[0] {
		t.Errorf("the first one holds %v, %v", es, err)
	}
	if err := closeAndCheck(t, q, dir); err != nil {
		t.Error(err)
	}
}

// contents sums up the files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sums[e.Name()] = fmt.Sprintf("%d bytes, %x", len(b), sha256.Sum256(b))
	}
	return sums
}

// TestClockJumps lets the wall clock jump a year between puts and between starts: order, ids and what comes out are those of a clock that goes right.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	jumps := map[string][]time.Duration{
		"forward": {0, year, year, 2 * year}, "back": {0, -year, -year, -2 * year}, "both": {0, year, -year, 0}, "to 1970": {0, -time.Duration(time.Now().UnixNano()), 0, year},
	}
	for name, offsets := range jumps {
		for _, loss := range []time.Duration{0, 200 * time.Millisecond} {
			t.Run(fmt.Sprint(name, "/", loss), func(t *testing.T) {
				t.Parallel()
				clockJumps(t, offsets, loss)
			})
		}
	}
}

func clockJumps(t *testing.T, offsets []time.Duration, loss time.Duration) {
	dir := filepath.Join(memoryDir(t), "outbox")
	var want, got []string
	ids := map[outbox.ID]bool{}
	for start := range offsets {
		var offset atomic.Int64 // the clock is read by the outbox's own goroutines, too
		offset.Store(int64(offsets[start]))
		q, err := outbox.Open(dir, &outbox.Options{MaxLoss: loss, Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
		if err != nil {
			t.Fatal(err)
		}
		for i := range offsets {
			offset.Store(int64(offsets[(start+i)%len(offsets)]))
			text := fmt.Sprint(start, "/", i)
			put, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal, Durable: i%2 == 0, Age: loss / 2, Body: []byte(text)})
			if err != nil || ids[put[0]] {
				t.Fatalf("%v, %v", put, err)
			}
			ids[put[0]] = true
			want = append(want, text)
		}
		if start == 1 { // some are acknowledged with a clock that is off, for good
			es, err := q.Next(3, 1<<20)
			if err != nil || len(es) != 3 {
				t.Fatal(es, err)
			}
			if err := q.Ack(es[0].ID, es[1].ID, es[2].ID); err != nil {
				t.Fatal(err)
			}
			want = want[3:]
		}
		if err := closeAndCheck(t, q, dir); err != nil {
			t.Fatal(err)
		}
	}
	q, err := outbox.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range drain(t, q) {
		got = append(got, string(e.Body))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("handed out:\n%s", d)
	}
	if err := closeAndCheck(t, q, dir); err != nil {
		t.Error(err)
	}
}
