package outbox

import (
	"fmt"
	"testing"
	"time"
)

// TestLiveStaysSmall: however many live messages are done beside a backlog that waits, what is kept of them, in memory and in control.db,
// does not grow: some were written before they were answered, most were not, and one that was handed out before them is not answered.
func TestLiveStaysSmall(t *testing.T) {
	q, err := Open(t.TempDir(), &Options{MaxLoss: time.Hour, LiveFirst: true})
	if err != nil {
		t.Fatal(err)
	}
	put := func(lane Lane, body string, durable bool) ID {
		ids, err := q.Put(t.Context(), Message{Lane: lane, Body: []byte(body), Durable: durable})
		if err != nil {
			t.Fatal(err)
		}
		return ids[0]
	}
	for i := range 10 {
		put(Normal, fmt.Sprint(i), i < 5)
	}
	if _, err := q.Next(2, 1000); err != nil {
		t.Fatal(err)
	}
	q.Mark()
	stage := 0
	for i := range 20000 {
		if i == 10000 { // so far nothing was written since
			q.mu.Lock()
			stage = cap(q.lane[Normal].staged.list)
			q.mu.Unlock()
		}
		id := put(Normal, "live", i%100 == 50 && i > 10000)
		es, err := q.Next(1, 1000)
		if err != nil || len(es) != 1 || es[0].ID != id {
			t.Fatalf("live message %d: %v, %v", i, es, err)
		}
		switch i % 1000 {
		case 99:
			err = q.Reject(id, "no")
		default:
			err = q.Ack(id)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	q.mu.Lock()
	l := &q.lane[Normal]
	slots, ranges := l.win.len(), l.settled()
	q.mu.Unlock()
	if slots > 600 || len(ranges) > 2 || stage > 4096 {
		t.Errorf("%d slots, %d places in memory, done are %v", slots, stage, ranges)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q, err = Open(q.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if es, err := q.Next(100, 1000); err != nil || len(es) != 10 {
		t.Errorf("after a restart: %d entries, %v", len(es), err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Verify(q.dir); err != nil {
		t.Fatal(err)
	}
}

// TestLiveWindowStaysSmall: while a live message is not answered, the slots of a backlog that goes out in front of it do not pile up.
func TestLiveWindowStaysSmall(t *testing.T) {
	q, err := Open(t.TempDir(), &Options{MaxLoss: time.Hour, LiveFirst: true})
	if err != nil {
		t.Fatal(err)
	}
	ms := make([]Message, 20000)
	for i := range ms {
		ms[i] = Message{Lane: Normal, Body: []byte("old")}
	}
	if _, err := q.Put(t.Context(), ms...); err != nil {
		t.Fatal(err)
	}
	if err := q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.Mark()
	if _, err := q.Put(t.Context(), Message{Lane: Normal, Body: []byte("live")}); err != nil {
		t.Fatal(err)
	}
	for i := range 20000 {
		es, err := q.Next(1, 1000)
		if err != nil || len(es) != 1 {
			t.Fatalf("%v, %v", es, err)
		}
		if i > 0 {
			if err := q.Ack(es[0].ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	q.mu.Lock()
	slots := cap(q.lane[Normal].win.slots)
	q.mu.Unlock()
	if slots > 8192 {
		t.Errorf("%d slots are kept for one message in flight", slots)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
