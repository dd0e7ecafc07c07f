package agent

import (
	"testing"
	"time"

	"iotagent/iothub"
	"iotagent/outbox"
)

// flow sends through a rate for so long, in parcels of n messages, and returns how many went. The hub accepts all at once.
func flow(r *rate, now *time.Time, d time.Duration, n int) (messages int) {
	for end := now.Add(d); now.Before(end); {
		if wait := r.wait(*now); wait > 0 {
			*now = now.Add(wait)
			continue
		}
		r.spend(n)
		r.count(*now, n)
		messages += n
		*now = now.Add(10 * time.Microsecond) // a sender is no faster
	}
	return messages
}

func TestRateHalvesAndGrowsBack(t *testing.T) {
	for _, n := range []int{1, 100} {
		r, now := &rate{}, time.Unix(1_000_000, 0)
		for range 50 { // 100 messages a second for five seconds
			r.count(now, 10)
			now = now.Add(100 * time.Millisecond)
		}
		resume := now.Add(10 * time.Second)
		r.cut(now, resume)
		if r.limit < 45 || r.limit > 55 {
			t.Errorf("limit %g after 100 a second were too much", r.limit)
		}
		if wait := r.wait(now); wait < 10*time.Second {
			t.Errorf("the first message after %v of ten seconds' pause", wait)
		}
		now = resume
		if got := flow(r, &now, 10*time.Second, n); got < 400 || got > 800+n {
			t.Errorf("%d messages in the first ten seconds at 50 a second, in parcels of %d", got, n)
		}
		if r.limit == 0 || r.limit > 110 {
			t.Errorf("limit %g after ten seconds", r.limit)
		}
		flow(r, &now, 80*time.Second, n)
		if r.limit != 0 {
			t.Errorf("limit %g after 90 seconds without a complaint", r.limit)
		}
	}
}

func TestRateNeverStops(t *testing.T) {
	r, now := &rate{}, time.Unix(1_000_000, 0)
	for range 20 {
		now = now.Add(time.Second)
		r.cut(now, now)
		if r.limit < leastRate {
			t.Fatalf("limit %g", r.limit)
		}
	}
	if got := flow(r, &now, 10*time.Second, 1); got < 8 {
		t.Errorf("%d messages in ten seconds", got)
	}
}

func TestWindowFollowsTheHub(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	f := newFlight()
	settle := func(n int, took time.Duration) {
		for range n {
			now = now.Add(took)
			f.settled(now.Add(-took), now)
			f.grow(300)
		}
	}
	settle(1100, 50*time.Millisecond)
	if n, b := f.limit(true); n != windowTransfers || b != windowBytes {
		t.Fatalf("%d transfers, %d bytes after a thousand fast settlements", n, b)
	}
	settle(200, 3*time.Second)
	n, _ := f.limit(true)
	if n > windowTransfers/4 {
		t.Errorf("%d transfers after two hundred settlements of 3 s", n)
	}
	f = newFlight()
	settle(20, 3*time.Second)
	if got, _ := f.limit(true); got < 70 {
		t.Errorf("%d transfers where each always took 3 s: the window must grow", got)
	}
	settle(2000, 50*time.Millisecond)
	settle(500, 20*time.Second)
	if got, bytes := f.limit(false); got < 1 || bytes < 1 {
		t.Errorf("%d transfers, %d bytes: less than always", got, bytes)
	}
}

func TestWindowKeepsRoomForAlarms(t *testing.T) {
	for _, share := range []float64{leastShare, firstShare, 0.3, 1} {
		f := newFlight()
		f.share = share
		for f.fits(false, 300) {
			f.enter(1, 300)
		}
		if !f.fits(true, 300) {
			t.Errorf("share %g: full for alarms too", share)
		}
		for f.fits(true, 300) {
			f.enter(1, 300)
		}
		if f.transfers > windowTransfers || f.bytes > windowBytes {
			t.Errorf("share %g: %d transfers, %d bytes", share, f.transfers, f.bytes)
		}
	}
	f := newFlight()
	if !f.fits(false, 256<<10) || !f.fits(true, 256<<10) {
		t.Error("a large message cannot go alone")
	}
	f.enter(1, 256<<10)
	if f.fits(false, 1) || f.fits(true, 1) {
		t.Error("something goes beside a message that is larger than the window")
	}
}

// What was in flight when a pause began says nothing new when it is refused later.
func TestPauseIsNotMadeLongerByWhatWasInFlight(t *testing.T) {
	var p pace
	now := time.Unix(1_000_000, 0)
	until, fresh := p.refused(now, now.Add(-time.Second), iothub.ClassThrottled, false)
	if !fresh || until.Sub(now) < 10*time.Second || p.wait(now, true) != 0 {
		t.Fatalf("pause of %v, alarms %v, fresh %v", until.Sub(now), p.wait(now, true), fresh)
	}
	later := until.Add(time.Second)
	if _, fresh := p.refused(later, now.Add(-time.Millisecond), iothub.ClassThrottled, false); fresh || p.wait(later, false) != 0 {
		t.Error("an old refusal began a pause")
	}
	p.refused(later, later, iothub.ClassQuota, false)
	if a, o := p.wait(later, true), p.wait(later, false); a != o || a < time.Minute {
		t.Errorf("a used-up quota stops alarms for %v, the rest for %v", a, o)
	}
}

func TestHalves(t *testing.T) {
	d := newDoubts()
	items := make([]item, 5)
	for i := range items {
		items[i].id = outbox.ID{Lane: outbox.Normal, Seq: uint64(i + 1)}
	}
	d.split(items)
	g := func(i int) uint64 { return d.groupOf(items[i].id) }
	if g(0) == 0 || g(0) != g(1) || g(1) != g(2) || g(2) == g(3) || g(3) != g(4) {
		t.Errorf("groups %d %d %d %d %d", g(0), g(1), g(2), g(3), g(4))
	}
	d.split(items[3:])
	if g(3) == g(4) || g(3) == g(0) {
		t.Errorf("groups %d %d %d after the second split", g(0), g(3), g(4))
	}
	for _, it := range items {
		d.settled(it.id)
	}
	if len(d.group) != 0 {
		t.Errorf("%d remembered", len(d.group))
	}
}

func TestPacking(t *testing.T) {
	entry := func(lane outbox.Lane, seq, size int) outbox.Entry {
		e := Envelope{Body: make([]byte, size)}
		return outbox.Entry{ID: outbox.ID{Epoch: 1, Lane: lane, Seq: uint64(seq)}, Body: e.Encode()}
	}
	run := func(lane outbox.Lane, from, n, size int) (es []outbox.Entry) {
		for i := range n {
			es = append(es, entry(lane, from+i, size))
		}
		return es
	}
	tests := []struct {
		name    string
		entries []outbox.Entry
		batch   int
		bytes   int64
		groups  map[int]uint64
		want    []int
	}{
		{"few", run(outbox.Normal, 1, 3, 50), 128, batchBytes, nil, []int{1, 1, 1}},
		{"many", run(outbox.Normal, 1, 30, 50), 128, batchBytes, nil, []int{30}},
		{"more than a batch", run(outbox.Normal, 1, 30, 50), 20, batchBytes, nil, []int{20, 10}},
		{"a few too many", run(outbox.Normal, 1, 22, 50), 20, batchBytes, nil, []int{20, 1, 1}},
		{"batches off", run(outbox.Normal, 1, 9, 50), 1, batchBytes, nil, []int{1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"large", run(outbox.Normal, 1, 10, 9000), 128, 40_000, nil, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"too large for a batch", run(outbox.Normal, 1, 1, 90_000), 128, batchBytes, nil, []int{1}},
		{"two lanes", append(run(outbox.Normal, 1, 10, 50), run(outbox.Bulk, 1, 10, 50)...), 128, batchBytes, nil, []int{10, 10}},
		{"alarms", append(run(outbox.Alarm, 1, 9, 50), run(outbox.Normal, 1, 8, 50)...), 128, batchBytes, nil, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 8}},
		{"what a batch was split into", run(outbox.Normal, 1, 12, 50), 128, batchBytes, map[int]uint64{1: 1, 2: 1, 3: 2, 4: 2, 5: 3}, []int{2, 2, 1, 1, 1, 1, 1, 1, 1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := packing{messages: tt.batch, bytes: tt.bytes, groupOf: func(id outbox.ID) uint64 { return tt.groups[int(id.Seq)] }}
			parcels := p.pack(tt.entries, func(id outbox.ID, why string) { t.Errorf("%s buried: %s", id, why) })
			var got []int
			at := 0
			for _, x := range parcels {
				got = append(got, len(x.items))
				bytes := int64(0)
				for i, it := range x.items {
					if it.id != tt.entries[at].ID || x.messages[i].ID != it.id.String() {
						t.Errorf("parcel of %v at the place of %v", it.id, tt.entries[at].ID)
					}
					bytes += int64(x.messages[i].BatchSize())
					at++
				}
				if bytes != x.bytes || (len(x.items) > 1 && bytes > tt.bytes) || x.alarm != (x.items[0].id.Lane == outbox.Alarm) {
					t.Errorf("parcel of %d with %d bytes says %d, alarm %v", len(x.items), bytes, x.bytes, x.alarm)
				}
			}
			if len(got) != len(tt.want) || at != len(tt.entries) {
				t.Fatalf("parcels of %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Fatalf("parcels of %v, want %v", got, tt.want)
				}
			}
		})
	}
}
