package outbox_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"iotagent/outbox"
)

// The messages of these tests are lists of numbers: each number is a reading. merge stands for what an agent does: it replaces ten
// messages by one with every tenth number.
func merge(_ outbox.Lane, run [][]byte) (out []outbox.Thinned) {
	for part := range slices.Chunk(run, 10) {
		all := bytes.Fields(bytes.Join(part, []byte(" ")))
		var kept [][]byte
		for i, n := range all {
			if i%10 == 0 || i == len(all)-1 {
				kept = append(kept, n)
			}
		}
		out = append(out, outbox.Thinned{Messages: len(part), Body: bytes.Join(kept, []byte(" ")), Readings: len(kept)})
	}
	return out
}

// noisy is a body of readings from a number on that does not compress to nothing.
func noisy(from int) []byte {
	var b []byte
	for i := range 20 {
		b = fmt.Appendf(b, "%d.%s ", from+i, strings.Map(func(r rune) rune {
			if r <= ' ' {
				return 'x'
			}
			return r
		}, noise(from+i, 8)))
	}
	return b
}

func TestThin(t *testing.T) {
	dir := quickDir(t)
	const quota, puts = 4 << 20, 3000
	calls := 0
	q := open(t, dir, &outbox.Options{MaxBytes: quota, MinFree: -1, Thin: func(lane outbox.Lane, run [][]byte) []outbox.Thinned {
		calls++
		if lane == outbox.Alarm {
			t.Error("alarms were given to the thinner")
		}
		return merge(lane, run)
	}})
	alarms := 0
	var first []outbox.Entry
	sent := map[outbox.ID]string{}
	for i := range puts {
		var ms []outbox.Message
		for j := range 20 {
			m := outbox.Message{Lane: outbox.Normal, Body: noisy((i*20 + j) * 20), Readings: 20}
			switch {
			case i%50 == 0 && j == 0:
				m.Lane, m.Body = outbox.Alarm, fmt.Appendf(nil, "alarm %d", i)
				alarms++
			case i%60 == 0 && j == 1:
				m.Durable, m.Body = true, fmt.Appendf(nil, "durable %d", i)
			}
			ms = append(ms, m)
		}
		if _, err := q.Put(t.Context(), ms...); err != nil {
			t.Fatal(err)
		}
		if i == 100 { // these were handed out: whatever happens, they stay as they are
			if err := q.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			next(t, q, 1) // asks for it
			if err := q.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			first = next(t, q, 50)
			if len(first) == 0 {
				t.Fatal("nothing was handed out")
			}
			for _, e := range first {
				sent[e.ID] = string(e.Body)
				q.Release(e.ID)
			}
		}
		if got := taken(t, dir); got > quota {
			t.Fatalf("%d bytes on the disk", got)
		}
	}
	if calls == 0 {
		t.Fatal("nothing was thinned")
	}
	if s := q.Stats(); s.Dropped != [3]uint64{} || s.Thinned[outbox.Normal] == 0 {
		t.Errorf("stats %+v", s)
	}
	checkThinned(t, q, sent, puts*20-alarms, alarms)
}

// checkThinned drains an outbox of which nothing was dropped, and holds it against what was put.
func checkThinned(t *testing.T, q outbox.Queue, sent map[outbox.ID]string, normals, alarms int) {
	t.Helper()
	a := newAccount(t)
	var times []int
	durable := 0
	for q.Stats().Queued != [3]uint64{} {
		if err := q.Sync(t.Context()); err != nil { // it is on disk that they were handed out, before they are
			t.Fatal(err)
		}
		for _, e := range next(t, q, 1000) {
			a.see(e)
			body := string(e.Body)
			if was, ok := sent[e.ID]; ok && was != body {
				t.Errorf("%s was handed out as %q and then as %q", e.ID, was, body)
			}
			if strings.HasPrefix(body, "durable") {
				durable++
				if e.First != e.ID.Seq {
					t.Errorf("a durable message was thinned: %+v", e)
				}
			} else if e.ID.Lane == outbox.Normal {
				for _, n := range strings.Fields(body) {
					number, _, _ := strings.Cut(n, ".")
					at, err := strconv.Atoi(number)
					if err != nil {
						t.Fatal(err)
					}
					times = append(times, at)
				}
			}
			if err := q.Ack(e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a.last[outbox.Normal] != uint64(normals) || a.got[outbox.Alarm] != alarms || durable != 50 || len(a.reasons) > 0 {
		t.Errorf("up to %v of %d, %d alarms of %d, %d durable, gaps %v", a.last, normals, a.got[outbox.Alarm], alarms, durable, a.reasons)
	}
	if !slices.IsSorted(times) || len(times) == 0 || times[len(times)-1] < normals*19 {
		t.Errorf("%d readings, sorted %v", len(times), slices.IsSorted(times))
	}
	hole := 0
	for i := 1; i < len(times); i++ {
		hole = max(hole, times[i]-times[i-1])
	}
	t.Logf("%d of %d readings are left, the longest stretch without one is %d", len(times), normals*20, hole)
	if hole > normals*20/50 {
		t.Errorf("%d readings in a row are gone without one to stand for them", hole)
	}
}

// A thinner that leaves messages out, or that makes nothing smaller, loses nothing and is not asked for ever.
func TestBadThinners(t *testing.T) {
	for name, thin := range map[string]outbox.Thinner{
		"forgets": func(_ outbox.Lane, run [][]byte) []outbox.Thinned {
			return []outbox.Thinned{{Messages: len(run) - 1, Body: []byte("x")}}
		},
		"keeps": func(_ outbox.Lane, run [][]byte) (out []outbox.Thinned) {
			for range run {
				out = append(out, outbox.Thinned{Messages: 1})
			}
			return out
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := open(t, quickDir(t), &outbox.Options{MaxBytes: 1 << 20, MinFree: -1, Thin: thin})
			n := 0
			for i := range 200 {
				n += len(put(t, q, outbox.Normal, noise(i, 4000), noise(-i-1, 4000)))
			}
			a := newAccount(t)
			a.drain(q)
			if a.got[outbox.Normal]+int(a.lost[outbox.Normal]) != n || a.got[outbox.Normal] == 0 {
				t.Errorf("%d arrived and %d were declared lost of %d", a.got[outbox.Normal], a.lost[outbox.Normal], n)
			}
		})
	}
}
