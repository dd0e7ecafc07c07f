package outbox_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// oldFile is an outbox.db as the first version made it: three lanes, two epochs, a gap, a dead letter, holes, and the pages of what was
// dropped and acknowledged.
func oldFile(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "outbox-v1.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// oldItem is what the first version said of an entry.
type oldItem struct {
	Epoch    uint64      `json:"epoch"`
	Lane     outbox.Lane `json:"lane"`
	Seq      uint64      `json:"seq"`
	Readings int         `json:"readings"`
	Durable  bool        `json:"durable"`
	Put      int64       `json:"put_ms"`
	Body     string      `json:"body"`
	Gap      *outbox.Gap `json:"gap"`
	Reason   string      `json:"reason"`
	At       int64       `json:"at_ms"`
}

type oldContents struct {
	Queued []oldItem `json:"queued"`
	Dead   []oldItem `json:"dead"`
}

func oldExpected(t *testing.T) (c oldContents) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "outbox-v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	for i := range c.Queued { // the first version kept no put time of a gap that we know of
		if c.Queued[i].Gap != nil {
			c.Queued[i].Put, c.Queued[i].Durable = 0, false
		}
	}
	return c
}

func oldDir(t *testing.T, b []byte) string {
	t.Helper()
	dir := quickDir(t)
	if err := os.WriteFile(filepath.Join(dir, "outbox.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// contents reads everything without changing anything.
func contents(t *testing.T, q *outbox.Outbox) (c oldContents) {
	t.Helper()
	err := q.Scan(t.Context(), outbox.ScanOptions{Bodies: true}, func(it outbox.Item) error {
		x := oldItem{
			Epoch: it.ID.Epoch, Lane: it.ID.Lane, Seq: it.ID.Seq, Readings: it.Readings, Durable: it.Durable, Put: it.Put.UnixMilli(),
			Body: string(it.Body), Gap: it.Gap,
		}
		if x.Gap != nil {
			x.Put, x.Durable = 0, false
		}
		c.Queued = append(c.Queued, x)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	dead, err := q.DeadLetters(10)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dead {
		c.Dead = append(c.Dead, oldItem{
			Epoch: d.ID.Epoch, Lane: d.ID.Lane, Seq: d.ID.Seq, Readings: d.Readings, Put: d.Put.UnixMilli(), At: d.At.UnixMilli(),
			Body: string(d.Body), Gap: d.Gap, Reason: d.Reason,
		})
	}
	return c
}

// TestUpgrade: everything is taken over from the first version's file, and it is gone.
func TestUpgrade(t *testing.T) {
	dir := oldDir(t, oldFile(t))
	expected := oldExpected(t)
	for range 2 { // the second time it is not there
		q, err := outbox.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(expected, contents(t, q)); d != "" {
			t.Errorf("taken over (-want +got):\n%s", d)
		}
		if s := q.Stats(); s.Queued != [3]uint64{6, 22, 8} || s.Dead != 1 || s.Degraded != "" {
			t.Errorf("stats %+v", s)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		outboxtest.Check(t, dir)
		if left, err := filepath.Glob(filepath.Join(dir, "outbox.db*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	drainOld(t, dir, expected)
}

// drainOld takes everything out in order; all of it may have been sent before.
func drainOld(t *testing.T, dir string, expected oldContents) {
	t.Helper()
	q := open(t, dir, nil)
	var got []string
	for es := next(t, q, 7); len(es) > 0; es = next(t, q, 7) {
		for _, e := range es {
			if !e.Sent || e.First != e.ID.Seq {
				t.Errorf("%s is said to be new, or to stand for %d", e.ID, e.First)
			}
			got = append(got, e.ID.String()+" "+string(e.Body))
			if err := q.Ack(e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	var w []string
	for _, x := range expected.Queued {
		w = append(w, outbox.ID{Epoch: x.Epoch, Lane: x.Lane, Seq: x.Seq}.String()+" "+x.Body)
	}
	if d := cmp.Diff(w, got); d != "" {
		t.Errorf("drained (-want +got):\n%s", d)
	}
	if ids := put(t, q, outbox.Normal, "new"); ids[0].Epoch == expected.Queued[0].Epoch {
		t.Errorf("%s", ids[0])
	}
}

// TestUpgradeInterrupted fails the n-th file that is opened, and lets another process begin again with what there is then.
func TestUpgradeInterrupted(t *testing.T) {
	file, expected := oldFile(t), oldExpected(t)
	for n := int64(1); ; n++ {
		dir := oldDir(t, file)
		var calls atomic.Int64
		q, err := outbox.Open(dir, &outbox.Options{OpenFile: func(name string, flag int, perm fs.FileMode) (*os.File, error) {
			if calls.Add(1) >= n {
				return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EIO}
			}
			return os.OpenFile(name, flag, perm)
		}})
		if err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
		done := calls.Load() < n
		if degraded := q.Stats().Degraded; done == (degraded != "") {
			t.Fatalf("call %d of %d fails: degraded %q", n, calls.Load(), degraded)
		}
		crashed := quickDir(t)
		copyDir(t, dir, crashed) // as after a power cut
		if err := q.Close(); err != nil && done {
			t.Fatal(err)
		}
		for _, dir := range []string{dir, crashed} {
			q := open(t, dir, nil)
			if d := cmp.Diff(expected, contents(t, q)); d != "" {
				t.Fatalf("call %d failed (-want +got):\n%s", n, d)
			}
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "outbox.db*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		}
		if done {
			if n < 4 {
				t.Errorf("only %d files were opened", n)
			}
			return
		}
	}
}

// TestUpgradeLeftovers: what a try left behind is not taken for messages, and a file that was taken over is only removed.
func TestUpgradeLeftovers(t *testing.T) {
	expected := oldExpected(t)
	done := oldDir(t, oldFile(t))
	q := open(t, done, nil)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	half := oldDir(t, oldFile(t))
	for _, name := range []string{"000000000001.seg", "control.db.tmp"} {
		b, err := os.ReadFile(filepath.Join(done, strings.TrimSuffix(name, ".tmp")))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(half, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(half, "000000000002.seg"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(done, "outbox.db.taken"), oldFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	renamed := quickDir(t)
	if err := os.WriteFile(filepath.Join(renamed, "outbox.db.taken"), oldFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{half, done, renamed} {
		q := open(t, dir, nil)
		if d := cmp.Diff(expected, contents(t, q)); d != "" {
			t.Errorf("taken over (-want +got):\n%s", d)
		}
		if s := q.Stats(); len(s.SetAside) > 0 {
			t.Errorf("set aside: %v", s.SetAside)
		}
	}
}

// TestDowngraded: what an earlier version queued after the upgrade is set aside and declared, not thrown away.
func TestDowngraded(t *testing.T) {
	dir := quickDir(t)
	q := open(t, dir, nil)
	put(t, q, outbox.Normal, "x")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "outbox.db"), oldFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		q := open(t, dir, nil)
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		gaps := 0
		es := next(t, q, 10)
		for _, e := range es {
			if e.Gap != nil && e.Gap.Reason == "damage" && e.Gap.AtMost {
				gaps++
			}
			q.Release(e.ID)
		}
		if s := q.Stats(); len(es) != 2 || gaps != 1 || len(s.SetAside) != 1 || !strings.Contains(s.SetAside[0], "outbox.db.corrupt-") {
			t.Errorf("start %d: %v, %d gaps, set aside %v", round, bodies(es), gaps, s.SetAside)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUpgradeReadOnly: an old file is not changed by looking, which says what to do.
func TestUpgradeReadOnly(t *testing.T) {
	dir := oldDir(t, oldFile(t))
	before := tree(t, dir)
	_, err := outbox.Open(dir, &outbox.Options{ReadOnly: true})
	if err == nil || !strings.Contains(err.Error(), "earlier version") || !strings.Contains(err.Error(), "start the daemon once") {
		t.Errorf("for looking: %v", err)
	}
	if _, err := outbox.Inspect(dir); err == nil {
		t.Error("inspect")
	}
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("looking changed %v to %v", before, after)
	}
}

// TestUpgradeDamaged spoils each page of the old file in turn, and cuts it.
func TestUpgradeDamaged(t *testing.T) {
	file, expected := oldFile(t), oldExpected(t)
	used := len(file)
	pages := []int{}
	for at := 0; at < used; at += page {
		if !bytes.Contains(file[at:][:page], []byte("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")) { // of what was dropped or acknowledged
			pages = append(pages, at)
		}
	}
	if len(pages) < 10 || len(pages) > 60 {
		t.Fatalf("%d pages to spoil", len(pages))
	}
	for _, at := range pages {
		zeroed, torn := bytes.Clone(file), bytes.Clone(file)
		clear(zeroed[at:][:page])
		clear(torn[at+page/2:][:page/2])
		for way, b := range map[string][]byte{"zeroed": zeroed, "torn": torn, "truncated": file[:at]} {
			upgradeDamaged(t, fmt.Sprintf("page %d %s", at/page, way), b, expected)
		}
	}
	for what, b := range map[string][]byte{"empty": {}, "text": []byte("not a database"), "zeros": make([]byte, 10*page)} {
		upgradeDamaged(t, what, b, expected)
	}
}

func upgradeDamaged(t *testing.T, what string, b []byte, expected oldContents) {
	t.Helper()
	dir := oldDir(t, b)
	q, err := outbox.Open(dir, nil)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	s := q.Stats()
	if s.Degraded != "" {
		t.Fatalf("%s: %s", what, s.Degraded)
	}
	got := contents(t, q)
	lost, declared := len(expected.Queued), false
	rest := expected.Queued
	for _, x := range got.Queued {
		if x.Gap != nil && x.Gap.Reason == "damage" {
			declared = true
			continue
		}
		at := slices.IndexFunc(rest, func(y oldItem) bool { return cmp.Equal(x, y) })
		if at < 0 {
			t.Fatalf("%s: %+v was not there, or not in this order", what, x)
		}
		rest = rest[at+1:]
		lost--
	}
	if bad := lost > 0 || len(got.Dead) == 0; bad && (!declared || len(s.SetAside) != 1) {
		t.Errorf("%s: %d lost, %d letters, and no gap", what, lost, len(got.Dead))
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	outboxtest.Check(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "outbox.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: outbox.db is still there: %v", what, err)
	}
}
