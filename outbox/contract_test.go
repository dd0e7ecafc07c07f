package outbox_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// The contract of Queue, for the real one and the fake.
func TestContract(t *testing.T) {
	kinds := map[string]func(t *testing.T) outbox.Queue{
		"memory": func(*testing.T) outbox.Queue { return outboxtest.NewMemory(7) },
		"bbolt":  func(t *testing.T) outbox.Queue { return open(t, t.TempDir(), nil) },
	}
	cases := map[string]func(t *testing.T, q outbox.Queue){
		"order": contractOrder, "release": contractRelease, "limits": contractLimits, "reject": contractReject,
		"ids": contractIDs, "changed": contractChanged, "closed": contractClosed, "bad puts": contractBadPuts, "stats": contractStats,
	}
	for kind, make := range kinds {
		for name, run := range cases {
			t.Run(kind+"/"+name, func(t *testing.T) { run(t, make(t)) })
		}
	}
}

// open opens an outbox, closes it at the end of the test and checks the file then.
func open(t testing.TB, dir string, o *outbox.Options) *outbox.Outbox {
	t.Helper()
	q, err := outbox.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil && !strings.Contains(err.Error(), "only in memory") {
			t.Errorf("close: %v", err)
		}
		outboxtest.Check(t, dir)
	})
	return q
}

func put(t testing.TB, q outbox.Queue, lane outbox.Lane, bodies ...string) []outbox.ID {
	t.Helper()
	ms := make([]outbox.Message, len(bodies))
	for i, b := range bodies {
		ms[i] = outbox.Message{Lane: lane, Body: []byte(b), Readings: 1}
	}
	ids, err := q.Put(t.Context(), ms...)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func next(t testing.TB, q outbox.Queue, max int) []outbox.Entry {
	t.Helper()
	es, err := q.Next(max, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func bodies(es []outbox.Entry) []string {
	out := []string{}
	for _, e := range es {
		s := string(e.Body)
		if e.Gap != nil {
			s = fmt.Sprintf("gap %d-%d n%d", e.Gap.From, e.Gap.To, e.Gap.Messages)
		}
		if e.Sent {
			s += " again"
		}
		out = append(out, s)
	}
	return out
}

func want(t testing.TB, es []outbox.Entry, w ...string) {
	t.Helper()
	if w == nil {
		w = []string{}
	}
	if d := cmp.Diff(w, bodies(es)); d != "" {
		t.Fatalf("handed out (-want +got):\n%s", d)
	}
}

func contractOrder(t *testing.T, q outbox.Queue) {
	put(t, q, outbox.Bulk, "b1")
	put(t, q, outbox.Normal, "n1", "n2")
	put(t, q, outbox.Alarm, "a1")
	put(t, q, outbox.Normal, "n3")
	want(t, next(t, q, 2), "a1", "n1")
	put(t, q, outbox.Alarm, "a2")
	want(t, next(t, q, 10), "a2", "n2", "n3", "b1")
	want(t, next(t, q, 10))
}

func contractRelease(t *testing.T, q outbox.Queue) {
	ids := put(t, q, outbox.Normal, "1", "2", "3", "4")
	want(t, next(t, q, 3), "1", "2", "3")
	q.Release(ids[2], ids[0], ids[0], ids[3])
	want(t, next(t, q, 10), "1 again", "3 again", "4")
	if err := q.Ack(ids[0]); err != nil {
		t.Fatal(err)
	}
	q.Release(ids...)
	if err := q.Ack(ids[1]); err != nil { // released: nothing to ack
		t.Fatal(err)
	}
	want(t, next(t, q, 10), "2 again", "3 again", "4 again")
}

func contractLimits(t *testing.T, q outbox.Queue) {
	put(t, q, outbox.Normal, strings.Repeat("x", 100), strings.Repeat("y", 100), strings.Repeat("z", 100), "z")
	for _, tt := range []struct{ max, bytes, want int }{{0, 1000, 0}, {-1, 1000, 0}, {5, 0, 1}, {5, 150, 1}, {5, 150, 2}} {
		es, err := q.Next(tt.max, tt.bytes)
		if err != nil || len(es) != tt.want {
			t.Errorf("Next(%d, %d) = %d entries, %v; want %d", tt.max, tt.bytes, len(es), err, tt.want)
		}
	}
	want(t, next(t, q, 1))
}

func contractReject(t *testing.T, q outbox.Queue) {
	ids := put(t, q, outbox.Normal, "good", "bad")
	next(t, q, 10)
	if err := q.Reject(ids[1], "too large"); err != nil {
		t.Fatal(err)
	}
	if err := q.Reject(ids[1], "twice"); err != nil {
		t.Fatal(err)
	}
	q.Release(ids...)
	want(t, next(t, q, 10), "good again")
	dead, err := q.(interface {
		DeadLetters(n int) ([]outbox.DeadLetter, error)
	}).DeadLetters(10)
	if err != nil || len(dead) != 1 || string(dead[0].Body) != "bad" || dead[0].Reason != "too large" || dead[0].ID != ids[1] || dead[0].At.IsZero() {
		t.Errorf("dead letters %+v, %v", dead, err)
	}
	if s := q.Stats(); s.Dead != 1 || s.Rejected[outbox.Normal] != 1 || s.Queued[outbox.Normal] != 1 {
		t.Errorf("stats %+v", s)
	}
}

func contractIDs(t *testing.T, q outbox.Queue) {
	ids := put(t, q, outbox.Normal, "1", "2")
	ids = append(ids, put(t, q, outbox.Alarm, "3")...)
	ids = append(ids, put(t, q, outbox.Normal, "4")...)
	epoch := q.Stats().Epoch
	w := []outbox.ID{{epoch, outbox.Normal, 1}, {epoch, outbox.Normal, 2}, {epoch, outbox.Alarm, 1}, {epoch, outbox.Normal, 3}}
	if d := cmp.Diff(w, ids); d != "" {
		t.Error(d)
	}
	if err := q.Ack(outbox.ID{Epoch: 1, Seq: 99}); err != nil {
		t.Errorf("an unknown id: %v", err)
	}
}

func contractChanged(t *testing.T, q outbox.Queue) {
	c := q.Changed()
	select {
	case <-c:
		t.Fatal("closed before anything happened")
	default:
	}
	ids := put(t, q, outbox.Normal, "1")
	<-c
	next(t, q, 1)
	c = q.Changed()
	q.Release(ids...)
	<-c
	c = q.Changed()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	<-c
}

func contractClosed(t *testing.T, q outbox.Queue) {
	ids := put(t, q, outbox.Normal, "1")
	next(t, q, 1)
	for range 2 {
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err1 := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal})
	_, err2 := q.Next(1, 1)
	for i, err := range []error{err1, err2, q.Ack(ids...), q.Reject(ids[0], ""), q.Sync(t.Context())} {
		if !errors.Is(err, outbox.ErrClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	q.Release(ids...)
}

func contractBadPuts(t *testing.T, q outbox.Queue) {
	good := outbox.Message{Lane: outbox.Normal, Body: []byte("good")}
	_, err := q.Put(t.Context(), good, outbox.Message{Lane: outbox.Normal, Body: make([]byte, 256<<10+1)})
	if !errors.Is(err, outbox.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := q.Put(t.Context(), good, outbox.Message{Lane: 3}); err == nil {
		t.Error("a fourth lane was accepted")
	}
	if ids, err := q.Put(t.Context()); err != nil || ids != nil {
		t.Errorf("nothing: %v, %v", ids, err)
	}
	want(t, next(t, q, 10))
	body := []byte("mine")
	if _, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal, Body: body}); err != nil {
		t.Fatal(err)
	}
	copy(body, "gone")
	want(t, next(t, q, 10), "mine")
}

func contractStats(t *testing.T, q outbox.Queue) {
	ids := put(t, q, outbox.Bulk, "12345", "678")
	put(t, q, outbox.Alarm, "9")
	next(t, q, 2)
	s := q.Stats()
	if s.Queued != [3]uint64{1, 0, 2} || s.Bytes != [3]uint64{1, 0, 8} || s.InFlight != 2 || s.Put != [3]uint64{1, 0, 2} || s.Oldest[2].IsZero() || !s.Oldest[1].IsZero() {
		t.Errorf("after put: %+v", s)
	}
	if err := q.Ack(ids[0]); err != nil {
		t.Fatal(err)
	}
	if err := q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := q.Stats(); s.Queued != [3]uint64{1, 0, 1} || s.Bytes[2] != 3 || s.Acked[2] != 1 || s.InFlight != 1 {
		t.Errorf("after ack: %+v", s)
	}
}
