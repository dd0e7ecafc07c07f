package outbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/outbox"
)

// coverage follows which sequence numbers of a lane and an epoch were told of, as messages or in gaps, in whatever order. A gap may reach
// over messages that came out; its count does not hold them.
type coverage struct {
	came, lost map[uint64]bool
	messages   int // that the gaps count
}

func newCoverage() *coverage { return &coverage{came: map[uint64]bool{}, lost: map[uint64]bool{}} }

func (c *coverage) see(t *testing.T, e outbox.Entry) {
	t.Helper()
	if g := e.Gap; g != nil {
		for seq := g.From; seq <= g.To; seq++ {
			c.lost[seq] = true
		}
		c.messages += int(g.Messages)
		return
	}
	for seq := e.First; seq <= e.ID.Seq; seq++ {
		c.once(t, seq)
	}
}

func (c *coverage) once(t *testing.T, seq uint64) {
	t.Helper()
	if c.came[seq] {
		t.Errorf("%d came twice", seq)
	}
	c.came[seq] = true
}

// check holds it against the ids of all that was put.
func (c *coverage) check(t *testing.T, ids []outbox.ID) {
	t.Helper()
	for _, id := range ids {
		if !c.came[id.Seq] && !c.lost[id.Seq] {
			t.Errorf("%d is missing", id.Seq)
		}
	}
	if len(c.came)+c.messages != len(ids) {
		t.Errorf("%d came and %d were declared lost, of %d", len(c.came), c.messages, len(ids))
	}
}

// drainLive takes and acknowledges everything.
func drainLive(t *testing.T, q *outbox.Outbox, see func(outbox.Entry)) {
	t.Helper()
	for q.Stats().Queued != [3]uint64{} {
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, e := range next(t, q, 100) {
			see(e)
			if err := q.Ack(e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestLiveQuota: at the quota the oldest goes, whether it is backlog or live, but nothing in flight; all is told of once.
func TestLiveQuota(t *testing.T) {
	q := open(t, quickDir(t), &outbox.Options{MaxBytes: 1 << 20, MinFree: -1, LiveFirst: true})
	told, flying := newCoverage(), map[outbox.ID]outbox.Entry{}
	var ids []outbox.ID
	for round := range 12 {
		for range 150 {
			ids = append(ids, put(t, q, outbox.Normal, noise(len(ids), 1000))...)
		}
		if round%3 == 1 {
			q.Mark()
		}
		for i, e := range next(t, q, 40) {
			switch {
			case i%4 == 0 && len(flying) < 60:
				flying[e.ID] = e
			case i%4 == 1:
				q.Release(e.ID)
			default:
				told.see(t, e)
				if err := q.Ack(e.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if s := q.Stats(); s.Dropped[outbox.Normal] == 0 || s.InFlight != len(flying) {
		t.Fatalf("stats %+v", s)
	}
	for id, e := range flying {
		told.see(t, e)
		if err := q.Ack(id); err != nil {
			t.Fatal(err)
		}
	}
	drainLive(t, q, func(e outbox.Entry) { told.see(t, e) })
	told.check(t, ids)
}

// TestLiveQuotaSparesFlight: what is in flight ahead of a backlog that is dropped around it is neither dropped nor taken for done.
func TestLiveQuotaSparesFlight(t *testing.T) {
	h := newLiveHistory(t, outbox.Options{MaxBytes: 1 << 20})
	ids := h.put(t, 100)
	h.q.Mark()
	ids = append(ids, h.put(t, 400)...)
	h.take(t, 100, 101)
	flying := next(t, h.q, 170) // more than one segment, and part of another
	ids = append(ids, h.put(t, 3000)...)
	if s := h.q.Stats(); s.InFlight != 170 || s.Dropped[outbox.Normal] < 2000 {
		t.Fatalf("stats %+v", s)
	}
	h.reopen(t)
	told := newCoverage()
	for i := range 100 {
		told.once(t, ids[100+i].Seq)
	}
	drainLive(t, h.q, func(e outbox.Entry) {
		if e.ID.Epoch == ids[0].Epoch || e.Gap != nil {
			told.see(t, e)
		}
	})
	told.check(t, ids)
	for _, e := range flying {
		if !told.came[e.ID.Seq] {
			t.Errorf("%s was in flight and is gone", e.ID)
		}
	}
	if told.lost[ids[100].Seq] || told.lost[ids[199].Seq] {
		t.Error("a gap reaches over live messages that were taken")
	}
}

// TestLiveThin: what was handed out, live or not, stays as it is, whatever is thinned around it.
func TestLiveThin(t *testing.T) {
	q := open(t, quickDir(t), &outbox.Options{MaxBytes: 2 << 20, MinFree: -1, LiveFirst: true, Thin: merge})
	sent, n := map[outbox.ID][]byte{}, 0
	var ids []outbox.ID
	for round := range 30 {
		q.Mark()
		for range 20 {
			var ms []outbox.Message
			for range 10 {
				ms = append(ms, outbox.Message{Lane: outbox.Normal, Body: noisy(n * 20), Readings: 20})
				n++
			}
			some, err := q.Put(t.Context(), ms...)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, some...)
		}
		if round%5 > 0 {
			continue
		}
		es := next(t, q, 1) // asks for what is noted before more is handed out
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, e := range append(es, next(t, q, 30)...) {
			if was, ok := sent[e.ID]; ok && !bytes.Equal(was, e.Body) {
				t.Fatalf("%s changed after it was handed out", e.ID)
			}
			sent[e.ID] = e.Body
			if i%3 > 0 {
				q.Release(e.ID)
			}
		}
	}
	s := q.Stats()
	if s.Thinned[outbox.Normal] == 0 || s.Dropped != [3]uint64{} {
		t.Fatalf("stats %+v", s)
	}
	q.Mark()
	told := newCoverage()
	for id := range sent { // those still in flight
		q.Release(id)
	}
	drainLive(t, q, func(e outbox.Entry) {
		if was, ok := sent[e.ID]; ok && !bytes.Equal(was, e.Body) {
			t.Errorf("%s changed after it was handed out", e.ID)
		}
		told.see(t, e)
	})
	told.check(t, ids)
}

// TestLiveThinnedGoes: the segments of live messages that were thinned go when those are done, although the backlog is not.
func TestLiveThinnedGoes(t *testing.T) {
	h := newLiveHistory(t, outbox.Options{MaxBytes: 2 << 20, Thin: merge})
	for i := range 300 {
		m := outbox.Message{Lane: outbox.Normal, Body: []byte(noise(i, 1000)), Durable: true} // stays as it is
		if _, err := h.q.Put(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	backlog := taken(t, h.dir)
	h.q.Mark()
	n := 0
	for range 800 {
		var ms []outbox.Message
		for range 10 {
			ms = append(ms, outbox.Message{Lane: outbox.Normal, Body: noisy(n * 20), Readings: 20})
			n++
		}
		if _, err := h.q.Put(t.Context(), ms...); err != nil {
			t.Fatal(err)
		}
	}
	if s := h.q.Stats(); s.Thinned[outbox.Normal] == 0 || s.Dropped != [3]uint64{} {
		t.Fatalf("stats %+v", s)
	}
	for h.q.Stats().Queued[outbox.Normal] > 300 {
		if err := h.q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, e := range next(t, h.q, 1) {
			if err := h.q.Ack(e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := taken(t, h.dir); got > backlog+300<<10 {
		t.Errorf("%d bytes on the disk, %d of them the backlog: what was live and is done still takes room", got, backlog)
	}
}

// TestLiveUncleanStop: after a crash with live messages done ahead of a backlog, the backlog is there, nothing that was done is back, and
// what may be missing begins behind what is known to be done.
func TestLiveUncleanStop(t *testing.T) {
	dir := quickDir(t)
	opt := &outbox.Options{MaxBytes: 4 << 20, MinFree: -1, MaxLoss: 10 * time.Second, LiveFirst: true}
	synctest.Test(t, func(t *testing.T) {
		q := open(t, dir, opt)
		put(t, q, outbox.Normal, "old1", "old2")
		for i := range 20 {
			ms := []outbox.Message{{Lane: outbox.Bulk, Body: []byte(noise(i, 60000)), Durable: true}, {Lane: outbox.Normal, Body: []byte("old")}}
			if _, err := q.Put(t.Context(), ms...); err != nil {
				t.Fatal(err)
			}
			if err := q.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		q.Mark()
		for i := range 6 {
			ids := put(t, q, outbox.Normal, fmt.Sprint("live", i))
			want(t, next(t, q, 1), fmt.Sprint("live", i))
			if i%2 == 1 {
				if err := q.Sync(t.Context()); err != nil { // written before it is answered
					t.Fatal(err)
				}
			}
			if err := q.Ack(ids...); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 100 { // a segment, which goes
			ids := put(t, q, outbox.Normal, noise(i, 3000))
			if err := q.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			next(t, q, 1)
			if err := q.Ack(ids...); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		put(t, q, outbox.Normal, "lost")
		epoch := q.Stats().Epoch
		after, gaps := crash(t, q, dir, opt)
		if len(gaps) != 1 || gaps[0] != unclean(epoch, outbox.Normal, 129, opt.MaxLoss) {
			t.Errorf("declared: %+v", gaps)
		}
		want(t, next(t, after, 3), "old1 again", "old2 again", "old again")
	})
}

// TestMarkOnDeadDisk: the backlog that could not be read when the connection began comes after what is new.
func TestMarkOnDeadDisk(t *testing.T) {
	dir := quickDir(t)
	synctest.Test(t, func(t *testing.T) {
		q := open(t, dir, nil)
		put(t, q, outbox.Normal, "old1", "old2")
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		disk := new(faulty)
		disk.none.Store(true)
		q = open(t, dir, &outbox.Options{OpenFile: disk.open, LiveFirst: true})
		put := func(body string) (id outbox.ID) {
			ids, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal, Body: []byte(body)})
			if err != nil && !errors.Is(err, outbox.ErrNotDurable) {
				t.Fatal(err)
			}
			return ids[0]
		}
		put("ram1")
		put("ram2")
		want(t, next(t, q, 1), "ram1")
		q.Mark()
		three := put("live3")
		put("live4")
		want(t, next(t, q, 1), "live3")
		disk.none.Store(false)
		time.Sleep(5 * time.Second)
		if s := q.Stats(); s.Degraded != "" || s.Queued[outbox.Normal] != 6 || s.InFlight != 2 {
			t.Fatalf("stats %+v", s)
		}
		put("live5")
		q.Release(three)
		want(t, next(t, q, 9), "live3 again", "live4", "live5", "old1 again", "old2 again", "ram2")
	})
}

// TestLivePurge: it throws away what waits, backlog and live, and tells of it once.
func TestLivePurge(t *testing.T) {
	for _, inFlight := range []int{0, 10} {
		t.Run(fmt.Sprint(inFlight, " in flight"), func(t *testing.T) { livePurge(t, inFlight) })
	}
}

func livePurge(t *testing.T, inFlight int) {
	h := newLiveHistory(t, outbox.Options{MaxBytes: 4 << 20})
	ids := h.put(t, 400)
	h.q.Mark()
	ids = append(ids, h.put(t, 400)...)
	flying := next(t, h.q, inFlight)
	h.take(t, 300, 401+inFlight)
	p, err := h.q.Purge(t.Context(), nil, time.Time{})
	if err != nil || int(p.Messages) != 500-inFlight {
		t.Fatalf("purged %+v: %v", p, err)
	}
	told := newCoverage()
	for i := range 300 {
		told.once(t, ids[400+inFlight+i].Seq)
	}
	for _, e := range flying {
		told.see(t, e)
		if err := h.q.Ack(e.ID); err != nil {
			t.Fatal(err)
		}
	}
	drainLive(t, h.q, func(e outbox.Entry) { told.see(t, e) })
	told.check(t, ids)
	if told.lost[ids[410].Seq] || told.lost[ids[699].Seq] {
		t.Error("a gap reaches over live messages that were taken")
	}
}
