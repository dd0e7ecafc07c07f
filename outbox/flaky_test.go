package outbox_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// TestFlakyDisk lets the disk fail and recover at random under puts, hand-outs, acks and releases: each message is handed out until it
// is acked, first times in order, and nothing is left over at the end.
func TestFlakyDisk(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := quickDir(t)
			loss := time.Duration(seed%3) * 5 * time.Second
			synctest.Test(t, func(t *testing.T) { flaky(t, dir, loss, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func flaky(t *testing.T, dir string, loss time.Duration, r *rand.Rand) {
	disk := new(faulty)
	q, err := outbox.Open(dir, &outbox.Options{OpenFile: disk.open, MaxLoss: loss})
	if err != nil {
		t.Fatal(err)
	}
	queued, first := map[outbox.ID]string{}, [3]uint64{}
	flight := map[outbox.ID]bool{}
	drain := func(n int) int {
		es := next(t, q, n)
		for _, e := range es {
			if queued[e.ID] != string(e.Body) || flight[e.ID] {
				t.Fatalf("%s handed out as %q, in flight: %v", e.ID, e.Body, flight[e.ID])
			}
			if !e.Sent {
				if e.ID.Seq <= first[e.ID.Lane] {
					t.Fatalf("%s after %d", e.ID, first[e.ID.Lane])
				}
				first[e.ID.Lane] = e.ID.Seq
			}
			flight[e.ID] = true
		}
		return len(es)
	}
	ack := func(id outbox.ID) {
		if err := q.Ack(id); err != nil {
			t.Fatal(err)
		}
		delete(flight, id)
		delete(queued, id)
	}
	for i := range 400 {
		switch r.IntN(9) {
		case 0, 1, 2:
			body := fmt.Sprint(i)
			ids, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Lane(r.IntN(3)), Body: []byte(body), Durable: r.IntN(4) == 0})
			if err != nil && !errors.Is(err, outbox.ErrNotDurable) {
				t.Fatal(err)
			}
			queued[ids[0]] = body
		case 3:
			drain(r.IntN(9))
		case 4, 5:
			for id := range flight {
				if r.IntN(2) == 0 {
					ack(id)
				}
			}
		case 6:
			for id := range flight {
				if r.IntN(3) == 0 {
					q.Release(id)
					delete(flight, id)
				}
			}
		case 7:
			synctest.Wait() // no commit is under way
			if q.Stats().Degraded == "" {
				disk.breakNow(t)
				_ = q.Stats() // its lock orders this before whatever the writer does next
			}
		case 8:
			disk.readOnly.Store(false)
			time.Sleep(time.Duration(r.IntN(5)) * time.Second)
		}
	}
	disk.readOnly.Store(false)
	time.Sleep(time.Minute)
	for id := range flight {
		ack(id)
	}
	for drain(100) > 0 {
		for id := range flight {
			ack(id)
		}
	}
	if len(queued) > 0 {
		t.Errorf("%d messages never came out: %v", len(queued), queued)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := outbox.Inspect(dir)
	if err != nil || s.Queued != [3]uint64{} {
		t.Errorf("left behind: %+v, %v", s.Queued, err)
	}
	outboxtest.Check(t, dir)
}

// TestCheckOnDeadDisk: it does not wait for a disk that cannot even be opened, but says why it cannot be done.
func TestCheckOnDeadDisk(t *testing.T) {
	dir := quickDir(t)
	synctest.Test(t, func(t *testing.T) {
		disk := new(faulty)
		disk.none.Store(true)
		q := open(t, dir, &outbox.Options{OpenFile: disk.open})
		began := time.Now()
		if r, err := q.Check(t.Context()); !errors.Is(err, syscall.EIO) {
			t.Errorf("check: %+v, %v", r, err)
		}
		if _, err := q.Purge(t.Context(), nil, time.Time{}); !errors.Is(err, syscall.EIO) {
			t.Errorf("purge: %v", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v to say so", took)
		}
		disk.none.Store(false)
		time.Sleep(5 * time.Second)
		if r, err := q.Check(t.Context()); err != nil || !r.Sound() {
			t.Errorf("once the disk works: %+v, %v", r, err)
		}
	})
}
