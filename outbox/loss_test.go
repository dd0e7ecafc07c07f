package outbox_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/outbox"
)

// crash copies a directory as it is now, closes the outbox and opens the copy, as after a kill. It returns what is declared there.
func crash(t *testing.T, q *outbox.Outbox, dir string, o *outbox.Options) (after *outbox.Outbox, gaps []outbox.Gap) {
	t.Helper()
	to := filepath.Join(quickDir(t), "crashed")
	copyDir(t, dir, to)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	after = open(t, to, o)
	return after, declared(t, after)
}

// declared hands out everything and returns the gaps; messages are given back.
func declared(t *testing.T, q *outbox.Outbox) (gaps []outbox.Gap) {
	t.Helper()
	if err := q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, e := range next(t, q, 1000) {
		if e.Gap != nil {
			gaps = append(gaps, *e.Gap)
			if err := q.Ack(e.ID); err != nil {
				t.Fatal(err)
			}
		} else {
			q.Release(e.ID)
		}
	}
	return gaps
}

func unclean(epoch uint64, lane outbox.Lane, from uint64, within time.Duration) outbox.Gap {
	return outbox.Gap{Epoch: epoch, Lane: lane, From: from, AtMost: true, Within: within, Reason: "unclean-stop"}
}

// TestUncleanStop: after a crash there is a gap for each lane that may have lost something, and where it begins is told; after a clean
// stop, and where nothing can be lost, there is none.
func TestUncleanStop(t *testing.T) {
	const loss = time.Hour
	durable := func(t *testing.T, q *outbox.Outbox, lane outbox.Lane) {
		if _, err := q.Put(t.Context(), outbox.Message{Lane: lane, Durable: true}); err != nil {
			t.Fatal(err)
		}
	}
	ack := func(t *testing.T, q *outbox.Outbox, n int) {
		for _, e := range next(t, q, n) {
			if err := q.Ack(e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	sync := func(t *testing.T, q *outbox.Outbox) {
		if err := q.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		loss time.Duration
		run  func(t *testing.T, q *outbox.Outbox)
		want map[outbox.Lane]uint64 // where the gap begins
	}{
		"nothing is ever only in memory": {0, func(t *testing.T, q *outbox.Outbox) { put(t, q, outbox.Normal, "1", "2") }, nil},
		"nothing was put":                {loss, func(*testing.T, *outbox.Outbox) {}, nil},
		"durable only": {loss, func(t *testing.T, q *outbox.Outbox) {
			durable(t, q, outbox.Alarm)
			durable(t, q, outbox.Bulk)
		}, nil},
		"staged in two lanes": {loss, func(t *testing.T, q *outbox.Outbox) {
			put(t, q, outbox.Alarm, "1")
			put(t, q, outbox.Bulk, "1", "2", "3")
			durable(t, q, outbox.Normal)
		}, map[outbox.Lane]uint64{outbox.Alarm: 2, outbox.Bulk: 4}}, // a durable put writes all that is staged
		"staged behind what is on disk": {loss, func(t *testing.T, q *outbox.Outbox) {
			put(t, q, outbox.Normal, "1", "2", "3")
			sync(t, q)
			put(t, q, outbox.Normal, "4", "5")
		}, map[outbox.Lane]uint64{outbox.Normal: 4}},
		"all on disk": {loss, func(t *testing.T, q *outbox.Outbox) {
			put(t, q, outbox.Normal, "1", "2", "3")
			sync(t, q)
		}, map[outbox.Lane]uint64{outbox.Normal: 4}},
		"only staged": {loss, func(t *testing.T, q *outbox.Outbox) {
			put(t, q, outbox.Normal, "1", "2", "3")
		}, map[outbox.Lane]uint64{outbox.Normal: 1}},
		"acked in memory": {loss, func(t *testing.T, q *outbox.Outbox) {
			put(t, q, outbox.Normal, "1", "2", "3")
			ack(t, q, 2)
		}, map[outbox.Lane]uint64{outbox.Normal: 1}},
		"acked in memory and noted": {loss, func(t *testing.T, q *outbox.Outbox) {
			put(t, q, outbox.Normal, "1", "2", "3")
			ack(t, q, 2)
			durable(t, q, outbox.Alarm) // writes 3 too
			put(t, q, outbox.Normal, "4")
			ack(t, q, 3)
			sync(t, q)
			put(t, q, outbox.Normal, "5", "6")
		}, map[outbox.Lane]uint64{outbox.Normal: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := quickDir(t)
			o := &outbox.Options{MaxLoss: tt.loss, MinFree: -1}
			old := open(t, dir, o) // an epoch before, which is none of it
			put(t, old, outbox.Normal, "before")
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			q := open(t, dir, o)
			if gaps := declared(t, q); len(gaps) > 0 {
				t.Fatalf("after a clean stop: %+v", gaps)
			}
			for _, e := range next(t, q, 1) {
				if err := q.Ack(e.ID); err != nil {
					t.Fatal(err)
				}
			}
			tt.run(t, q)
			epoch := q.Stats().Epoch
			after, gaps := crash(t, q, dir, o)
			var w []outbox.Gap
			for lane, from := range tt.want {
				w = append(w, unclean(epoch, lane, from, tt.loss))
			}
			slices.SortFunc(w, func(a, b outbox.Gap) int { return int(a.Lane) - int(b.Lane) })
			if d := cmp.Diff(w, gaps); d != "" {
				t.Errorf("declared (-want +got):\n%s", d)
			}
			if err := after.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if gaps := declared(t, after); len(gaps) > 0 {
				t.Errorf("declared twice: %+v", gaps)
			}
		})
	}
}

// TestMarkerOnlyWhenNeeded: what needs no write causes none.
func TestMarkerOnlyWhenNeeded(t *testing.T) {
	dir := quickDir(t)
	o := &outbox.Options{MaxLoss: time.Hour}
	open := func() *outbox.Outbox {
		q, err := outbox.Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	if err := open().Close(); err != nil { // makes the files
		t.Fatal(err)
	}
	before := tree(t, dir)
	q := open()
	if s := q.Stats(); s.Commits != 0 || s.WrittenBytes != 0 {
		t.Errorf("opening committed: %+v", s)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("opening and closing changed %v to %v", before, after)
	}
	q = open()
	for i := range 50 {
		ids := put(t, q, outbox.Normal, fmt.Sprint(i))
		want(t, next(t, q, 5), fmt.Sprint(i))
		if err := q.Ack(ids...); err != nil {
			t.Fatal(err)
		}
	}
	if s := q.Stats(); s.Commits != 1 {
		t.Errorf("%d commits for the marker", s.Commits)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, dir); len(after) != len(before) {
		t.Errorf("the messages took files: %v", after)
	}
	q = open()
	if gaps := declared(t, q); len(gaps) > 0 {
		t.Errorf("after a clean stop: %+v", gaps)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSteadyState: while the hub answers in time, no reading costs a write.
func TestSteadyState(t *testing.T) {
	dir := quickDir(t)
	synctest.Test(t, func(t *testing.T) {
		q := open(t, dir, &outbox.Options{MaxLoss: 10 * time.Second})
		for lane := range outbox.Lane(3) { // the marker
			ids := put(t, q, lane, "first")
			next(t, q, 1)
			if err := q.Ack(ids...); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		before := q.Stats()
		for i := range 1000 {
			put(t, q, outbox.Lane(i%3), "reading")
			if i%10 == 9 {
				time.Sleep(time.Second)
				for _, e := range next(t, q, 100) {
					if err := q.Ack(e.ID); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		time.Sleep(time.Minute)
		if s := q.Stats(); s.Commits != before.Commits || s.WrittenBytes != before.WrittenBytes || s.Queued != [3]uint64{} {
			t.Errorf("1 000 readings were written: %+v, before %+v", s, before)
		}
	})
}

// TestMaxLoss: what is put is written when MaxLoss, less its age, is nearly over, and not long before; all that waits goes with it.
func TestMaxLoss(t *testing.T) {
	for name, tt := range map[string]struct {
		age  time.Duration
		want time.Duration
	}{
		"fresh": {0, 10 * time.Second}, "aged": {4 * time.Second, 6 * time.Second}, "old": {time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := quickDir(t)
			synctest.Test(t, func(t *testing.T) {
				q := open(t, dir, &outbox.Options{MaxLoss: 10 * time.Second})
				ms := []outbox.Message{{Lane: outbox.Normal, Age: tt.age}, {Lane: outbox.Bulk}}
				if _, err := q.Put(t.Context(), ms...); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				const lead = 100 * time.Millisecond
				if tt.want > 0 {
					time.Sleep(tt.want - lead)
					synctest.Wait()
					if s := q.Stats(); s.RAMOnly != 2 {
						t.Errorf("written %v early: %+v", lead, s)
					}
					time.Sleep(lead)
					synctest.Wait()
				}
				if s := q.Stats(); s.RAMOnly != 0 || s.Queued[outbox.Bulk] != 1 {
					t.Errorf("not written: %+v", s)
				}
			})
		})
	}
}

// TestMaxLossOfAcked: what made a commit due may be acknowledged by then; the rest waits until its own time.
func TestMaxLossOfAcked(t *testing.T) {
	dir := quickDir(t)
	synctest.Test(t, func(t *testing.T) {
		q := open(t, dir, &outbox.Options{MaxLoss: 10 * time.Second})
		put(t, q, outbox.Normal, "1")
		time.Sleep(5 * time.Second)
		put(t, q, outbox.Normal, "2")
		before := q.Stats().Commits
		if err := q.Ack(next(t, q, 1)[0].ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(7 * time.Second)
		if s := q.Stats(); s.Commits != before || s.RAMOnly != 1 {
			t.Errorf("2 s after the first was due: %+v", s)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if s := q.Stats(); s.RAMOnly != 0 {
			t.Errorf("when the second is due: %+v", s)
		}
		want(t, next(t, q, 5), "2")
	})
}
