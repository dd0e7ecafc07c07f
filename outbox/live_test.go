package outbox_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// The order of LiveFirst, for the real queue and the fake.
func TestLiveFirst(t *testing.T) {
	kinds := map[string]func(t *testing.T) outbox.Queue{
		"memory": func(*testing.T) outbox.Queue {
			m := outboxtest.NewMemory(7)
			m.LiveFirst = true
			return m
		},
		"fsynced": func(t *testing.T) outbox.Queue { return open(t, t.TempDir(), &outbox.Options{LiveFirst: true}) },
		"staged": func(t *testing.T) outbox.Queue {
			return open(t, t.TempDir(), &outbox.Options{LiveFirst: true, MaxLoss: time.Hour})
		},
	}
	cases := map[string]func(t *testing.T, q outbox.Queue){
		"lanes": liveLanes, "no mark": liveNoMark, "released": liveReleased, "second mark": liveSecondMark, "caught up": liveCaughtUp,
	}
	for kind, make := range kinds {
		for name, run := range cases {
			t.Run(kind+"/"+name, func(t *testing.T) { run(t, make(t)) })
		}
	}
}

func liveLanes(t *testing.T, q outbox.Queue) {
	put(t, q, outbox.Alarm, "a1")
	put(t, q, outbox.Normal, "n1", "n2")
	put(t, q, outbox.Bulk, "b1")
	q.Mark()
	put(t, q, outbox.Bulk, "b2")
	put(t, q, outbox.Normal, "n3", "n4")
	put(t, q, outbox.Alarm, "a2")
	want(t, next(t, q, 4), "a1", "a2", "n3", "n4")
	want(t, next(t, q, 2), "b2", "n1")
	put(t, q, outbox.Bulk, "b3")
	put(t, q, outbox.Normal, "n5")
	want(t, next(t, q, 10), "n5", "b3", "n2", "b1")
	want(t, next(t, q, 10))
}

func liveNoMark(t *testing.T, q outbox.Queue) {
	put(t, q, outbox.Bulk, "b1")
	put(t, q, outbox.Normal, "n1")
	want(t, next(t, q, 1), "n1")
	put(t, q, outbox.Normal, "n2")
	want(t, next(t, q, 10), "n2", "b1")
}

func liveReleased(t *testing.T, q outbox.Queue) {
	old := put(t, q, outbox.Normal, "1", "2", "3")
	q.Mark()
	live := put(t, q, outbox.Normal, "4", "5")
	want(t, next(t, q, 4), "4", "5", "1", "2")
	q.Release(old[0], live[1], old[1], live[0])
	put(t, q, outbox.Normal, "6")
	want(t, next(t, q, 10), "4 again", "5 again", "6", "1 again", "2 again", "3")
}

func liveSecondMark(t *testing.T, q outbox.Queue) {
	put(t, q, outbox.Normal, "1", "2")
	q.Mark()
	ids := put(t, q, outbox.Normal, "3", "4", "5", "6")
	want(t, next(t, q, 3), "3", "4", "5")
	if err := q.Ack(ids[1]); err != nil {
		t.Fatal(err)
	}
	q.Mark() // 5 stays in flight, 6 waits
	q.Release(ids[0])
	put(t, q, outbox.Normal, "7")
	want(t, next(t, q, 10), "7", "3 again", "1", "2", "6")
	q.Release(ids[2])
	want(t, next(t, q, 10), "5 again")
}

func liveCaughtUp(t *testing.T, q outbox.Queue) {
	ids := put(t, q, outbox.Normal, "1")
	q.Mark()
	want(t, next(t, q, 10), "1")
	want(t, next(t, q, 10)) // there is no backlog from here on
	put(t, q, outbox.Normal, "2")
	want(t, next(t, q, 10), "2")
	q.Release(ids...)
	put(t, q, outbox.Normal, "3")
	want(t, next(t, q, 10), "3", "1 again")
}

// TestMarkWithoutLiveFirst: it changes nothing.
func TestMarkWithoutLiveFirst(t *testing.T) {
	for name, q := range map[string]outbox.Queue{"memory": outboxtest.NewMemory(7), "bbolt": open(t, t.TempDir(), nil)} {
		t.Run(name, func(t *testing.T) {
			put(t, q, outbox.Bulk, "b1")
			put(t, q, outbox.Normal, "n1")
			q.Mark()
			put(t, q, outbox.Normal, "n2")
			want(t, next(t, q, 10), "n1", "n2", "b1")
		})
	}
}

// TestLiveCostsNothing: with a backlog on the disk, what is put and answered in time is never written.
func TestLiveCostsNothing(t *testing.T) {
	dir := quickDir(t)
	synctest.Test(t, func(t *testing.T) {
		q := open(t, dir, &outbox.Options{MaxBytes: 4 << 20, MinFree: -1, MaxLoss: 10 * time.Second, LiveFirst: true})
		for i := range 1000 {
			put(t, q, outbox.Lane(1+i%2), noise(i, 800))
		}
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		q.Mark()
		slow := next(t, q, 20) // of the backlog, and not answered
		before := q.Stats()
		for i := range 5000 {
			ids := put(t, q, outbox.Lane(1+i%2), "live")
			es := next(t, q, 1)
			want(t, es, "live")
			if i%3 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			if i%7 == 0 {
				q.Release(ids...)
				want(t, next(t, q, 1), "live again")
			}
			if err := q.Ack(ids...); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if s := q.Stats(); s.Commits != before.Commits || s.WrittenBytes != before.WrittenBytes || s.Queued != before.Queued {
			t.Errorf("live messages were written: %+v, before %+v", s, before)
		}
		if err := q.Ack(slow[0].ID); err != nil {
			t.Fatal(err)
		}
	})
}

// liveHistory is an outbox with a backlog of several segments, and live messages that were forced to disk.
type liveHistory struct {
	dir  string
	opt  *outbox.Options
	q    *outbox.Outbox
	want map[string]bool // bodies that wait
	n    int
}

func newLiveHistory(t *testing.T, o outbox.Options) *liveHistory {
	t.Helper()
	o.LiveFirst, o.MinFree = true, -1
	h := &liveHistory{dir: quickDir(t), opt: &o, want: map[string]bool{}}
	h.reopen(t)
	return h
}

func (h *liveHistory) reopen(t *testing.T) {
	t.Helper()
	if h.q != nil {
		if err := h.q.Close(); err != nil {
			t.Fatal(err)
		}
		if err := outbox.Verify(h.dir); err != nil {
			t.Fatal(err)
		}
	}
	h.q = open(t, h.dir, h.opt)
}

// put puts messages of about a kilobyte, so many that they fill a segment or two.
func (h *liveHistory) put(t *testing.T, n int) (ids []outbox.ID) {
	t.Helper()
	var all []string
	for range n {
		h.n++
		all = append(all, fmt.Sprintf("%06d %s", h.n, noise(h.n, 1000)))
	}
	for part := range slices.Chunk(all, 50) {
		ids = append(ids, put(t, h.q, outbox.Normal, part...)...)
	}
	for _, b := range all {
		h.want[b] = true
	}
	if err := h.q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ids
}

// take hands out n messages, which must wait and rise from a number on, and acknowledges them.
func (h *liveHistory) take(t *testing.T, n, from int) {
	t.Helper()
	for i := range n {
		es := next(t, h.q, 1)
		if len(es) != 1 || !h.want[string(es[0].Body)] || string(es[0].Body[:6]) != fmt.Sprintf("%06d", from+i) {
			t.Fatalf("handed out %.20q, want number %d", bodies(es), from+i)
		}
		delete(h.want, string(es[0].Body))
		if err := h.q.Ack(es[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestLiveFromDisk: live messages that wait on the disk are read from there before the backlog, and their segments go with them, over
// restarts too.
func TestLiveFromDisk(t *testing.T) {
	h := newLiveHistory(t, outbox.Options{MaxBytes: 4 << 20})
	h.put(t, 600) // over two segments
	h.q.Mark()
	h.take(t, 10, 1)
	backlog := taken(t, h.dir)
	h.put(t, 900)
	h.take(t, 890, 601)
	h.take(t, 10, 1491)
	if got := taken(t, h.dir); got > backlog+300<<10 {
		t.Errorf("%d bytes on the disk, %d of them the backlog: what was live and is done still takes room", got, backlog)
	}
	h.put(t, 100) // of which some are taken, some in flight at the end, some wait
	h.take(t, 50, 1501)
	next(t, h.q, 20)
	h.reopen(t)
	h.take(t, 5, 11) // without Mark all that waits is the backlog
	h.q.Mark()
	h.put(t, 400)
	h.take(t, 390, 1601)
	h.reopen(t)
	h.take(t, 585, 16)
	h.take(t, 50, 1551)
	h.take(t, 10, 1991)
	want(t, next(t, h.q, 1))
	if len(h.want) > 0 || h.q.Stats().Queued != [3]uint64{} {
		t.Errorf("missing: %v, %v", slices.Collect(maps.Keys(h.want)), h.q.Stats().Queued)
	}
	if got := taken(t, h.dir); got > 256<<10 {
		t.Errorf("%d bytes are left on the disk", got)
	}
}

// TestLiveRunsGo: a segment with live messages of two runs goes when both are done.
func TestLiveRunsGo(t *testing.T) {
	h := newLiveHistory(t, outbox.Options{MaxBytes: 4 << 20})
	h.put(t, 300)
	h.q.Mark()
	h.put(t, 600)
	h.take(t, 600, 301)
	backlog := taken(t, h.dir)
	h.put(t, 30)
	h.take(t, 30, 901)
	h.reopen(t)
	h.q.Mark()
	h.put(t, 600)
	h.take(t, 600, 931)
	if got := taken(t, h.dir); got > backlog+150<<10 {
		t.Errorf("%d bytes on the disk, %d of them the backlog: what was live and is done still takes room", got, backlog)
	}
	h.take(t, 300, 1)
}

// TestSecondMarkOverFlight: the cursor of the backlog passes over what is in flight from before the last Mark, however much it is.
func TestSecondMarkOverFlight(t *testing.T) {
	h := newLiveHistory(t, outbox.Options{MaxBytes: 4 << 20})
	h.put(t, 10)
	h.q.Mark()
	h.put(t, 700)
	flying := next(t, h.q, 700)
	h.q.Mark()
	h.put(t, 10)
	h.take(t, 10, 711)
	h.take(t, 10, 1)
	want(t, next(t, h.q, 1))
	for _, e := range flying {
		h.q.Release(e.ID)
	}
	h.put(t, 5)
	h.take(t, 5, 721)
	for _, e := range next(t, h.q, 1000) {
		delete(h.want, string(e.Body))
		if err := h.q.Ack(e.ID); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.want) > 0 {
		t.Errorf("%d are missing", len(h.want))
	}
}
