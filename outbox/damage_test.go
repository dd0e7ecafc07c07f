package outbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

const perLane = 30

// sound makes the file of an outbox with messages in three lanes and two epochs and returns its bytes.
func sound(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	for epoch := range 2 {
		q, err := outbox.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range perLane / 2 {
			for lane := range outbox.Lane(3) {
				put(t, q, lane, fmt.Sprintf("%d/%03d %s", lane, epoch*perLane/2+i, strings.Repeat("x", 300)))
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(t.TempDir(), "copy")
	copyFile(t, filepath.Join(dir, "outbox.db"), to)
	b, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// survivors opens the file, drains it, and checks that what is missing is declared. It returns how many messages were there.
func survivors(t *testing.T, b []byte) (n int) {
	t.Helper()
	dir := quickDir(t)
	if err := os.WriteFile(filepath.Join(dir, "outbox.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	q, err := outbox.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	declared, atMost := uint64(0), false
	last := map[outbox.Lane]string{}
	for round := 0; round < 5; round++ {
		for es := next(t, q, 1000); len(es) > 0; es = next(t, q, 1000) {
			round = 0
			for _, e := range es {
				if e.Gap != nil {
					if e.Gap.Reason != "damage" || e.ID.Seq == 0 {
						t.Errorf("gap %+v with id %s", e.Gap, e.ID)
					}
					declared += e.Gap.Messages
					atMost = atMost || e.Gap.AtMost
					continue
				}
				name := string(e.Body[:5])
				if !bytes.Equal(e.Body[5:], append([]byte{' '}, bytes.Repeat([]byte("x"), 300)...)) {
					t.Fatalf("%s came out changed", name)
				}
				if name <= last[e.ID.Lane] {
					t.Errorf("%s after %s", name, last[e.ID.Lane])
				}
				last[e.ID.Lane] = name
				n++
			}
		}
		// A read may have met damage: the repair is done before Sync returns.
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	lost := uint64(3*perLane - n)
	if declared < lost || declared > lost && !atMost {
		t.Errorf("%d messages are lost, %d declared (at most: %v)", lost, declared, atMost)
	}
	put(t, q, outbox.Normal, "after")
	if s := q.Stats(); s.Degraded != "" || lost > 0 && len(s.SetAside) != 1 {
		t.Errorf("%d lost, stats %+v", lost, s)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	outboxtest.Check(t, dir)
	return n
}

// TestDamage spoils every page in turn, in several ways. Nothing may crash, what is whole must come out, what is lost must be declared.
func TestDamage(t *testing.T) {
	file := sound(t)
	if n := survivors(t, file); n != 3*perLane {
		t.Fatalf("%d messages from the sound file", n)
	}
	ways := map[string]func(p []byte, r *rand.Rand){
		"zeroed": func(p []byte, _ *rand.Rand) { clear(p) },
		"random": func(p []byte, r *rand.Rand) {
			for i := range p {
				p[i] = byte(r.Uint32())
			}
		},
		"torn": func(p []byte, _ *rand.Rand) { clear(p[512:]) },
		"header kept": func(p []byte, r *rand.Rand) {
			for i := 16; i < len(p); i++ {
				p[i] = byte(r.Uint32())
			}
		},
		"bit": func(p []byte, r *rand.Rand) { p[r.IntN(len(p))] ^= 1 << r.IntN(8) },
	}
	for way, spoil := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 2))
			worst := 3 * perLane
			for page := range len(file) / 4096 {
				b := bytes.Clone(file)
				spoil(b[page*4096:][:4096], r)
				worst = min(worst, survivors(t, b))
				if t.Failed() {
					t.Fatalf("with page %d of %d spoiled", page, len(file)/4096)
				}
			}
			if worst < 3*perLane-20 { // a page holds a dozen
				t.Errorf("one page cost %d messages", 3*perLane-worst)
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	file := sound(t)
	for size := 100; size < len(file); size += 4096*3 + 1000 {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			survivors(t, file[:size])
		})
	}
}

// TestTruncatedFirstCommit cuts a file whose one commit was made by a single put: the older state record knows of no message at all.
func TestTruncatedFirstCommit(t *testing.T) {
	const n = 400
	dir := t.TempDir()
	q, err := outbox.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	ms := make([]outbox.Message, n)
	for i := range ms {
		ms[i] = outbox.Message{Lane: outbox.Normal, Durable: true, Body: bytes.Repeat([]byte("x"), 300)}
	}
	if _, err := q.Put(t.Context(), ms...); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "outbox.db")
	to := filepath.Join(t.TempDir(), "copy")
	copyFile(t, path, to) // before Close writes again
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	file = bytes.TrimRight(file, "\x00")
	for size := 4096 * 4; size < len(file); size += 4096 * 5 {
		dir := quickDir(t)
		if err := os.WriteFile(filepath.Join(dir, "outbox.db"), file[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		q := open(t, dir, nil)
		kept, declared := 0, 0
		for es := next(t, q, 1000); len(es) > 0; es = next(t, q, 1000) {
			for _, e := range es {
				if e.Gap != nil {
					declared += int(e.Gap.Messages)
				} else {
					kept++
				}
			}
		}
		if kept+declared < n {
			t.Errorf("cut at %d of %d bytes: %d messages kept, %d declared lost, of %d", size, len(file), kept, declared, n)
		}
	}
}

func TestEmptyFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "outbox.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	q := open(t, dir, nil)
	put(t, q, outbox.Normal, "1")
	want(t, next(t, q, 5), "1")
}

func TestGarbage(t *testing.T) {
	b := make([]byte, 20000)
	for i := range b {
		b[i] = byte(i * 7)
	}
	if n := survivors(t, b); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestDamageWhileOpen meets a flipped bit in a body after the structure was found good, with messages in flight.
func TestDamageWhileOpen(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, nil)
	ids := put(t, q, outbox.Normal, "first", "second-second", "third")
	want(t, next(t, q, 1), "first")
	path := filepath.Join(dir, "outbox.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for at := 0; ; { // old versions of the page too
		i := bytes.Index(b[at:], []byte("second-second"))
		if i < 0 {
			break
		}
		at += i + 1
		if _, err := f.WriteAt([]byte{'S'}, int64(at-1)); err != nil {
			t.Fatal(err)
		}
	}
	want(t, next(t, q, 10)) // the repair is on its way
	if err := q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	es := next(t, q, 10)
	want(t, es, "gap 2-2 n1", "third")
	if g := es[0].Gap; g.AtMost || g.Readings != 1 || g.Epoch != ids[0].Epoch || es[0].ID.Seq != 4 {
		t.Errorf("gap %+v with id %s", g, es[0].ID)
	}
	q.Release(ids[0])
	want(t, next(t, q, 10), "first again")
	if err := q.Ack(ids[0], ids[2], es[0].ID); err != nil {
		t.Fatal(err)
	}
}

func TestNewerFormat(t *testing.T) {
	dir := t.TempDir()
	q, err := outbox.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	setFormat(t, filepath.Join(dir, "outbox.db"), 2)
	_, err = outbox.Open(dir, nil)
	if err == nil || !strings.Contains(err.Error(), "format 2, this program knows 1") {
		t.Fatalf("a newer file: %v", err)
	}
	if aside, err := filepath.Glob(filepath.Join(dir, "*corrupt*")); err != nil || len(aside) > 0 {
		t.Errorf("a newer file was set aside: %v, %v", aside, err)
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
