package outbox

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func FuzzRecord(f *testing.F) {
	r := record{key: key{Normal, 7}, id: ID{Epoch: 1, Lane: Normal, Seq: 2}, readings: 3, put: 4, body: []byte("body")}
	f.Add(r.key.bytes(), r.encode())
	g := gapRecord(key{Bulk, 1}, ID{Epoch: 5, Lane: Bulk, Seq: 1}, Gap{From: 1, To: 2}, 9)
	f.Add(g.key.bytes(), g.encode())
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, k, v []byte) {
		r, err := decode(k, v)
		if err != nil {
			return
		}
		if _, err := r.entry(false); err != nil && !r.isGap() {
			t.Fatalf("a message has no entry: %v", err)
		}
		if !bytes.Equal(r.key.bytes(), k) || !bytes.Equal(r.encode(), v) {
			t.Fatalf("%x at %x changed over a round trip", v, k)
		}
	})
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lane := Lane(rapid.IntRange(0, 2).Draw(t, "lane"))
		r := record{
			key:      key{lane, rapid.Uint64().Draw(t, "pos")},
			id:       ID{rapid.Uint64().Draw(t, "epoch"), lane, rapid.Uint64().Draw(t, "seq")},
			flags:    rapid.Byte().Draw(t, "flags"),
			readings: rapid.Uint32().Draw(t, "readings"),
			put:      rapid.Int64().Draw(t, "put"),
			body:     rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		k, v := r.key.bytes(), r.encode()
		got, err := decode(k, v)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, got, cmp.AllowUnexported(record{}, key{})); d != "" {
			t.Fatal(d)
		}
		at := rapid.IntRange(0, len(k)+len(v)-1).Draw(t, "flip at")
		if at < len(k) {
			k[at] ^= 1
		} else {
			v[at-len(k)] ^= 1
		}
		if _, err := decode(k, v); err == nil {
			t.Fatalf("a flipped bit at %d went unseen", at)
		}
	})
}

func FuzzState(f *testing.F) {
	st := state{serial: 1, dead: 2}
	st.lane[2].tail = math.MaxUint64
	f.Add(st.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeState(b); err == nil && !bytes.Equal(s.encode(), b) {
			t.Fatalf("%x changed over a round trip", b)
		}
	})
}

func FuzzDead(f *testing.F) {
	r := record{key: key{Alarm, 7}, id: ID{Epoch: 1, Seq: 2}, body: []byte("body")}
	f.Add(encodeDead(r.key, 5, "reason", r.encode()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := decodeDead(b); err == nil && len(d.Body)+len(d.Reason) > len(b) {
			t.Fatalf("%+v out of %d bytes", d, len(b))
		}
	})
}

// FuzzVerify: whatever a file holds, the checks end without a panic.
func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	q, err := Open(dir, nil)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := q.Put(f.Context(), Message{Body: []byte("x")}); err != nil {
		f.Fatal(err)
	}
	if err := q.Close(); err != nil {
		f.Fatal(err)
	}
	fd, err := q.opt.OpenFile(q.path(), 0, 0)
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = fd.Close() }()
	b := make([]byte, 16*pageSize)
	if _, err := fd.ReadAt(b, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(b, uint16(0), byte(0))
	f.Add(b, uint16(3*pageSize+8), byte(9))
	f.Fuzz(func(_ *testing.T, b []byte, at uint16, x byte) {
		if int(at) < len(b) {
			b[at] ^= x
		}
		_ = verify(bytes.NewReader(b), int64(len(b)))
	})
}

// TestMemoryIsFlat: what the outbox holds beside the file does not grow with the queue.
func TestMemoryIsFlat(t *testing.T) {
	q, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ms := make([]Message, 1000)
	for i := range ms {
		ms[i] = Message{Lane: Lane(i % 3), Body: []byte("some reading")}
	}
	for range 30 {
		if _, err := q.Put(t.Context(), ms...); err != nil {
			t.Fatal(err)
		}
	}
	held := func() int {
		q.mu.Lock()
		defer q.mu.Unlock()
		n := len(q.items) + len(q.flight) + len(q.groups) + len(q.acked)
		for _, l := range q.lane {
			n += len(l.staged) + len(l.released)
		}
		return n
	}
	if n := held(); n != 0 {
		t.Errorf("%d things held with 30 000 queued and none in flight", n)
	}
	seen := 0
	for {
		es, err := q.Next(100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(es) == 0 {
			break
		}
		seen += len(es)
		for _, e := range es {
			if err := q.Ack(e.ID); err != nil {
				t.Fatal(err)
			}
		}
		if n := held(); n > 2*(2*ackBatch+100) { // unwritten acks, each an item and a key, and what is in flight
			t.Fatalf("%d things held", n)
		}
	}
	if err := q.Close(); err != nil || seen != 30_000 {
		t.Fatalf("%d drained, %v", seen, err)
	}
	if n := held(); n != 0 {
		t.Errorf("%d things held by an empty queue", n)
	}
}

// TestEpochsPruned: restarts leave nothing behind once their messages are gone.
func TestEpochsPruned(t *testing.T) {
	dir := t.TempDir()
	for range 10 {
		q, err := Open(dir, &Options{LockWait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		ids, err := q.Put(t.Context(), Message{Lane: Normal})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Next(10, 0); err != nil {
			t.Fatal(err)
		}
		if err := q.Ack(ids...); err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := fd.Close(); err != nil {
			t.Error(err)
		}
	}()
	if n := countEpochs(t, fd.file); n > 2 {
		t.Errorf("%d epochs are remembered", n)
	}
}

// TestVerifySparse: of a large file the branches are checked and not every leaf.
func TestVerifySparse(t *testing.T) {
	q, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ms := make([]Message, 400)
	for i := range ms {
		ms[i] = Message{Lane: Normal, Body: make([]byte, 900)}
	}
	if _, err := q.Put(t.Context(), ms...); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(q.path())
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]int{}
	for page := range int(readMetasOf(t, b).high) {
		if page < 2 {
			continue
		}
		c := bytes.Clone(b)
		kind := binary.NativeEndian.Uint16(c[page*pageSize+8:])
		clear(c[page*pageSize:][:pageSize])
		if verifyUpTo(bytes.NewReader(c), int64(len(c)), verifyLimit) != nil {
			bad["all"]++
		}
		if verifyUpTo(bytes.NewReader(c), int64(len(c)), 0) != nil {
			bad["sparse"]++
			if kind == flagBranch {
				bad["branches"]++
			}
		}
	}
	if err := verifyUpTo(bytes.NewReader(b), int64(len(b)), 0); err != nil {
		t.Errorf("the sound file: %v", err)
	}
	if bad["branches"] == 0 || bad["sparse"] < 4 || bad["sparse"] > 10 || bad["all"] < 100 {
		t.Errorf("pages whose loss was noticed: %v", bad)
	}
}

func readMetasOf(t *testing.T, b []byte) meta {
	t.Helper()
	ms, err := readMetas(bytes.NewReader(b))
	if err != nil || len(ms) != 2 {
		t.Fatal(ms, err)
	}
	return ms[0]
}

// TestGapBehindStaged: a gap that had to be placed behind messages that were still in memory does not hide them.
func TestGapBehindStaged(t *testing.T) {
	q, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}()
	q.mu.Lock()
	q.lane[Normal].next = 3 // as after a gap at position 2 was handed out
	q.mu.Unlock()
	if _, err := q.Put(t.Context(), Message{Lane: Normal, Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if es, err := q.Next(5, 100); err != nil || len(es) != 1 || es[0].Sent {
		t.Errorf("%+v, %v", es, err)
	}
}
