package outbox_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"iotagent/outbox"
)

// account follows what a reader of the queue is told of each lane: every sequence number must come exactly once, as a message or in a gap,
// and gaps where the messages would have been.
type account struct {
	t       testing.TB
	last    [3]uint64
	got     [3]int
	lost    [3]uint64
	ranges  [3]int
	reasons map[string]int
}

func newAccount(t testing.TB) *account { return &account{t: t, reasons: map[string]int{}} }

// see takes an entry of an outbox with one epoch, of which nothing was acknowledged from memory.
func (a *account) see(e outbox.Entry) {
	a.t.Helper()
	lane := e.ID.Lane
	from, to := e.First, e.ID.Seq
	if g := e.Gap; g != nil {
		from, to = g.From, g.To
		a.lost[lane] += g.Messages
		a.ranges[lane]++
		a.reasons[g.Reason]++
		n := g.To - g.From + 1
		if e.ID.Seq >= g.From && e.ID.Seq <= g.To { // it took its own number in between
			n--
		}
		if g.Messages != n || g.AtMost || g.Readings != n {
			a.t.Errorf("gap %+v", g)
		}
	} else {
		a.got[lane]++
	}
	if from != a.last[lane]+1 {
		a.t.Errorf("%s: %d to %d follow %d", lane, from, to, a.last[lane])
	}
	a.last[lane] = to
}

// drain takes and acknowledges everything.
func (a *account) drain(q outbox.Queue) {
	a.t.Helper()
	for {
		if err := q.Sync(a.t.Context()); err != nil { // gaps are handed out once they are on disk
			a.t.Fatal(err)
		}
		es := next(a.t, q, 1000)
		if len(es) == 0 && q.Stats().Queued == [3]uint64{} {
			return
		}
		for _, e := range es {
			if e.Gap == nil || e.Gap.Reason != "unclean-stop" {
				a.see(e)
			}
			if err := q.Ack(e.ID); err != nil {
				a.t.Fatal(err)
			}
		}
	}
}

// taken is what the files of a directory take on the disk.
func taken(t testing.TB, dir string) (n int64) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			n += st.Blocks * 512
		}
	}
	return n
}

// Ten times the quota is put; the least urgent goes first, oldest first, all of it is declared in its place, and the files never take
// more than the quota.
func TestQuota(t *testing.T) {
	dir := quickDir(t)
	const quota = 4 << 20
	q := open(t, dir, &outbox.Options{MaxBytes: quota, MinFree: -1})
	shares := [3]int{2, 70, 28}
	n := 0
	for range 400 {
		var ms []outbox.Message
		for lane, share := range shares {
			for range share / 2 {
				n++
				ms = append(ms, outbox.Message{Lane: outbox.Lane(lane), Body: []byte(noise(n, 1+n%2200)), Readings: 1})
			}
		}
		if _, err := q.Put(t.Context(), ms...); err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); s.Dropped[outbox.Normal] > 0 && s.Queued[outbox.Bulk] > 300 {
			t.Fatalf("normal messages were dropped while bulk ones were there: %+v", s)
		}
		if got := taken(t, dir); got > quota {
			t.Fatalf("%d bytes on the disk, allowed are %d", got, quota)
		}
	}
	s := q.Stats()
	if s.Dropped[outbox.Alarm] > 0 || s.Dropped[outbox.Normal] == 0 || s.Dropped[outbox.Bulk] == 0 {
		t.Errorf("dropped: %v", s.Dropped)
	}
	a := newAccount(t)
	a.drain(q)
	if a.lost != s.Dropped || a.got[outbox.Alarm] != 400 {
		t.Errorf("%v lost and %v arrived; dropped were %v", a.lost, a.got, s.Dropped)
	}
	if a.ranges[outbox.Normal] != 1 || a.reasons["quota"] != a.ranges[1]+a.ranges[2] {
		t.Errorf("%v gaps, %v", a.ranges, a.reasons)
	}
	if got := taken(t, dir); got > 256<<10 {
		t.Errorf("%d bytes are left on the disk after the drain", got)
	}
}

// The same for the alarms alone: they go last, but they go.
func TestQuotaOfAlarms(t *testing.T) {
	q := open(t, quickDir(t), &outbox.Options{MaxBytes: 1 << 20, MinFree: -1})
	for i := range 3000 {
		put(t, q, outbox.Alarm, noise(i, 1000))
	}
	a := newAccount(t)
	a.drain(q)
	if a.lost[0] == 0 || a.got[0] < 300 || a.got[0]+int(a.lost[0]) != 3000 {
		t.Errorf("%d arrived, %d were declared lost, the last is %d", a.got[0], a.lost[0], a.last[0])
	}
}

// What is in flight is never dropped; what was given back is.
func TestQuotaSparesFlight(t *testing.T) {
	q := open(t, quickDir(t), &outbox.Options{MaxBytes: 1 << 20, MinFree: -1})
	for i := range 100 {
		put(t, q, outbox.Normal, noise(i, 1000))
	}
	es := next(t, q, 50)
	for i, e := range es {
		if i%2 == 1 {
			q.Release(e.ID)
		}
	}
	for i := range 3000 {
		put(t, q, outbox.Normal, noise(1000+i, 1000))
	}
	kept := map[uint64]bool{}
	for i, e := range es {
		if i%2 == 0 {
			q.Release(e.ID)
			kept[e.ID.Seq] = true
		}
	}
	covered := map[uint64]bool{}
	if err := q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for es := next(t, q, 100); len(es) > 0; es = next(t, q, 100) {
		for _, e := range es {
			from, to := e.First, e.ID.Seq
			if e.Gap != nil {
				from, to = e.Gap.From, e.Gap.To
			}
			delete(kept, e.ID.Seq)
			for seq := from; seq <= to; seq++ {
				if covered[seq] {
					t.Errorf("%d was told of twice", seq)
				}
				covered[seq] = true
			}
			if err := q.Ack(e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(kept) > 0 {
		t.Errorf("in flight and dropped: %v", kept)
	}
	for seq := range uint64(3100) {
		if !covered[seq+1] {
			t.Errorf("%d is missing", seq+1)
		}
	}
}

// What is dropped stays dropped and declared once, over a restart at any moment.
func TestQuotaOverRestarts(t *testing.T) {
	dir := quickDir(t)
	opt := &outbox.Options{MaxBytes: 1 << 20, MinFree: -1}
	told := map[string]bool{}
	messages, lost := 0, uint64(0)
	for round := range 12 {
		q, err := outbox.Open(dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			put(t, q, outbox.Lane(1+i%2), noise(round*1000+i, 900))
		}
		if round == 5 {
			for _, e := range next(t, q, 40) { // the gap of bulk is not among them, the one of normal may be
				if err := q.Ack(e.ID); err != nil {
					t.Fatal(err)
				}
				if e.Gap != nil {
					lost += e.Gap.Messages
				} else {
					messages++
				}
				told[e.ID.String()] = true
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if err := outbox.Verify(dir); err != nil {
			t.Fatal(err)
		}
	}
	q := open(t, dir, opt)
	if err := q.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for es := next(t, q, 1000); len(es) > 0; es = next(t, q, 1000) {
		for _, e := range es {
			if told[e.ID.String()] {
				t.Fatalf("%s came twice", e.ID)
			}
			told[e.ID.String()] = true
			if e.Gap != nil {
				lost += e.Gap.Messages
			} else {
				messages++
			}
		}
	}
	if messages+int(lost) != 12*300 {
		t.Errorf("%d arrived and %d were declared lost, of %d", messages, lost, 12*300)
	}
}

// Below the floor of free space the outbox does not grow, and what is new displaces what is old.
func TestMinFree(t *testing.T) {
	dir := quickDir(t)
	q := open(t, dir, &outbox.Options{MaxBytes: 16 << 20, MinFree: math.MaxInt64 / 2})
	for i := range 10000 {
		put(t, q, outbox.Normal, noise(i, 1000))
	}
	if got := taken(t, dir); got > 5<<20 { // it was empty when the space was short: a few segments of a sixteenth of the quota
		t.Errorf("%d bytes on the disk", got)
	}
	a := newAccount(t)
	a.drain(q)
	if a.got[outbox.Normal]+int(a.lost[outbox.Normal]) != 10000 || a.lost[outbox.Normal] == 0 || a.reasons["quota"] != 1 {
		t.Errorf("%v arrived, %v lost, %v", a.got, a.lost, a.reasons)
	}
}

// Purge throws away what it is told to, and says so.
func TestPurge(t *testing.T) {
	q := open(t, quickDir(t), nil)
	for i := range 300 {
		put(t, q, outbox.Lane(i%3), fmt.Sprint(i))
	}
	flying := next(t, q, 101) // all alarms, and the first of normal
	p, err := q.Purge(t.Context(), []outbox.Lane{outbox.Alarm, outbox.Normal}, noTime())
	if err != nil || p != (outbox.Purged{Messages: 99, Readings: 99}) {
		t.Fatalf("purged %+v: %v", p, err)
	}
	es := next(t, q, 1000)
	if len(es) != 101 || es[0].Gap == nil || es[0].Gap.Reason != "purged" || es[0].Gap.From != 2 || es[0].Gap.To != 100 || es[1].ID.Lane != outbox.Bulk {
		t.Fatalf("%d entries: %+v", len(es), es[0].Gap)
	}
	for _, e := range append(flying, es...) {
		if err := q.Ack(e.ID); err != nil {
			t.Fatal(err)
		}
	}
	if s := q.Stats(); s.Queued != [3]uint64{} {
		t.Errorf("queued: %v", s.Queued)
	}
}

func noTime() (t time.Time) { return t }
