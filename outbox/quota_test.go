package outbox_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iotagent/outbox"
)

// kib is a message that counts for exactly 1 KiB of the quota.
func kib(name string) string { return name + strings.Repeat(".", 1024-64-len(name)) }

func names(es []outbox.Entry) []string {
	out := []string{}
	for _, e := range es {
		if e.Gap != nil {
			out = append(out, fmt.Sprintf("gap %s %d-%d n%d r%d %s", e.Gap.Lane, e.Gap.From, e.Gap.To, e.Gap.Messages, e.Gap.Readings, e.Gap.Reason))
			continue
		}
		name, _, _ := strings.Cut(string(e.Body), ".")
		out = append(out, name)
	}
	return out
}

func wantNames(t *testing.T, es []outbox.Entry, w ...string) {
	t.Helper()
	if d := cmp.Diff(w, names(es)); d != "" {
		t.Fatalf("handed out (-want +got):\n%s", d)
	}
}

// fill puts n messages of 1 KiB each, named by prefix and number from 1, in one put.
func fill(t *testing.T, q outbox.Queue, lane outbox.Lane, prefix string, n int) {
	t.Helper()
	var b []string
	for i := range n {
		b = append(b, kib(fmt.Sprint(prefix, i+1)))
	}
	put(t, q, lane, b...)
}

func small() *outbox.Options { return &outbox.Options{MaxBytes: 1 << 20} } // room for 1024 of kib

// TestQuotaOrder: bulk goes first, then normal, then alarms, oldest first, each run declared where it was.
func TestQuotaOrder(t *testing.T) {
	q := open(t, t.TempDir(), small())
	fill(t, q, outbox.Alarm, "a", 1000)
	fill(t, q, outbox.Normal, "n", 14)
	fill(t, q, outbox.Bulk, "b", 10)
	fill(t, q, outbox.Normal, "m", 4) // b1 to b4 go
	if s := q.Stats(); s.Dropped != [3]uint64{0, 0, 4} || s.Queued != [3]uint64{1000, 18, 7} {
		t.Fatalf("stats %+v", s)
	}
	fill(t, q, outbox.Normal, "o", 8) // the rest of bulk and, for the gap itself, two of normal
	fill(t, q, outbox.Alarm, "c", 30) // all of normal, then the oldest alarms
	s := q.Stats()
	if s.Dropped[outbox.Bulk] != 10 || s.Dropped[outbox.Normal] != 26 || s.Dropped[outbox.Alarm] < 6 || s.Dropped[outbox.Alarm] > 8 {
		t.Fatalf("stats %+v", s)
	}
	gone := s.Dropped[outbox.Alarm]
	es := next(t, q, 5000)
	if len(es) != 1030-int(gone)+3 {
		t.Fatalf("%d entries", len(es))
	}
	wantNames(t, es[:2], fmt.Sprintf("gap alarm 1-%d n%d r%d quota", gone, gone, gone), fmt.Sprint("a", gone+1))
	wantNames(t, es[len(es)-2:], "gap normal 1-26 n26 r26 quota", "gap bulk 1-10 n10 r10 quota")
}

// TestQuotaSparesFlight: what is in flight is never dropped, what is released is; gaps stand in their places.
func TestQuotaSparesFlight(t *testing.T) {
	q := open(t, t.TempDir(), small())
	fill(t, q, outbox.Normal, "n", 1024)
	es := next(t, q, 5)
	q.Release(es[1].ID, es[3].ID)
	fill(t, q, outbox.Normal, "m", 3) // n2, n4 and n6 go, and n7 in exchange for the gaps before
	got := next(t, q, 4)
	wantNames(t, got, "gap normal 2-2 n1 r1 quota", "gap normal 4-4 n1 r1 quota", "gap normal 6-6 n1 r1 quota", "n7")
	q.Release(es[0].ID, es[2].ID, es[4].ID)
	wantNames(t, next(t, q, 4), "n1", "n3", "n5", "n8")
}

// TestGapID: the id is fixed when the gap is handed out; what is lost after that is in the next one; acked gaps are gone.
func TestGapID(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, small())
	fill(t, q, outbox.Normal, "n", 1024)
	fill(t, q, outbox.Normal, "m", 2)
	fill(t, q, outbox.Normal, "o", 2)
	es := next(t, q, 1)
	s := q.Stats()
	dropped := s.Dropped[outbox.Normal]
	wantNames(t, es, fmt.Sprintf("gap normal 1-%d n%d r%d quota", dropped, dropped, dropped))
	id := es[0].ID
	if id.Epoch != s.Epoch || id.Seq == 0 || id.Seq > 1024+4+1 {
		t.Errorf("id %s", id)
	}
	q.Release(id)
	fill(t, q, outbox.Normal, "p", 2)
	es = next(t, q, 2)
	if es[0].ID != id || es[0].Gap.To != dropped || es[1].Gap == nil || es[1].Gap.From != dropped+1 || es[1].ID == id {
		t.Fatalf("after it was sent once: %v", names(es))
	}
	if err := q.Ack(id); err != nil {
		t.Fatal(err)
	}
	last := es[1].ID
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, dir, small())
	fill(t, q, outbox.Normal, "q", 2)
	es = next(t, q, 3)
	if es[0].ID != last || !es[0].Sent || es[1].Gap == nil || es[1].Gap.Epoch != s.Epoch || es[1].ID.Epoch != q.Stats().Epoch || es[2].Gap != nil {
		t.Fatalf("after a reopen: %v", names(es))
	}
}

// TestGapPerEpoch: a loss over two epochs is two gaps.
func TestGapPerEpoch(t *testing.T) {
	dir := t.TempDir()
	q, err := outbox.Open(dir, small())
	if err != nil {
		t.Fatal(err)
	}
	fill(t, q, outbox.Bulk, "old", 3)
	first := q.Stats().Epoch
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, dir, small())
	fill(t, q, outbox.Bulk, "new", 1021)
	fill(t, q, outbox.Alarm, "a", 5)
	es := next(t, q, 5000)
	if es[5].Gap == nil || es[5].Gap.Epoch != first || es[5].Gap.Messages != 3 || es[6].Gap == nil || es[6].Gap.Epoch == first || es[6].Gap.From != 1 {
		t.Fatalf("%v %+v", names(es[:8]), es[5].Gap)
	}
}

// TestQuotaDropsNewcomer: a message of the least urgent lane makes no room among the others.
func TestQuotaDropsNewcomer(t *testing.T) {
	q := open(t, t.TempDir(), small())
	fill(t, q, outbox.Alarm, "a", 1024)
	fill(t, q, outbox.Bulk, "b", 3)
	if s := q.Stats(); s.Dropped != [3]uint64{0, 0, 3} || s.Queued != [3]uint64{1024, 0, 1} {
		t.Fatalf("stats %+v", s)
	}
	es := next(t, q, 5000)
	wantNames(t, es[1024:], "gap bulk 1-3 n3 r3 quota")
	if err := q.Ack(es[1024].ID); err != nil {
		t.Fatal(err)
	}
}

// TestEverySeqAccounted puts far more than fits and checks that every sequence number is a message, a gap's id or inside a gap.
func TestEverySeqAccounted(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, small())
	for i := range 40 {
		fill(t, q, outbox.Lane(i%3), "x", 100)
		if i%7 == 3 {
			es := next(t, q, 60)
			for j, e := range es {
				if j%2 == 0 {
					q.Release(e.ID)
				}
			}
		}
	}
	if err := q.Close(); err != nil { // everything in flight is handed out again
		t.Fatal(err)
	}
	epoch := q.Stats().Epoch
	q = open(t, dir, small())
	var seen [3]map[uint64]int
	for i := range seen {
		seen[i] = map[uint64]int{}
	}
	for _, e := range next(t, q, 1<<20) {
		if e.ID.Epoch != epoch {
			t.Fatalf("id %s of another epoch", e.ID)
		}
		seen[e.ID.Lane][e.ID.Seq]++
		if e.Gap == nil {
			continue
		}
		if e.Gap.To-e.Gap.From+1 != e.Gap.Messages || e.Gap.Readings != e.Gap.Messages {
			t.Errorf("gap %+v", e.Gap)
		}
		for s := e.Gap.From; s <= e.Gap.To; s++ {
			seen[e.Gap.Lane][s]++
		}
	}
	for lane, m := range seen {
		for s := uint64(1); s <= uint64(len(m)); s++ {
			if m[s] != 1 {
				t.Fatalf("%s: number %d is accounted for %d times", outbox.Lane(lane), s, m[s])
			}
		}
	}
}

func TestDeadLetterCap(t *testing.T) {
	q := open(t, t.TempDir(), &outbox.Options{MaxDead: 3})
	for i := range 5 {
		ids := put(t, q, outbox.Normal, fmt.Sprint(i))
		next(t, q, 1)
		if err := q.Reject(ids[0], "why "+fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := q.DeadLetters(2)
	if err != nil || len(dead) != 2 || dead[0].Reason != "why 2" || string(dead[1].Body) != "3" {
		t.Errorf("%+v, %v", dead, err)
	}
	if s := q.Stats(); s.Dead != 3 || s.DeadDropped != 2 || s.Rejected[outbox.Normal] != 5 {
		t.Errorf("%+v", s)
	}
}
