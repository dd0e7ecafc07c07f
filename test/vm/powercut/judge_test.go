package powercut

import (
	"slices"
	"strings"
	"time"
)

// What was acknowledged may be handed out again when the cut came before the acknowledgements were written: 1 000 of them, with the batch of the
// drainer on top, or what came in 1 s. The second one of the two seconds is for a slow machine. A program is to work again within 5 s of its
// start; without KVM the machine is at least ten times slower than this one, and may take three times as long.
const (
	mayRepeat    = 1000 + 100
	mayRepeatFor = 2000 // milliseconds
	readyKVM     = 5000
	readyTCG     = 3 * readyKVM

	agentMaxLoss  = 2 * time.Second // as powercut.sh's configuration has it
	agentInterval = 200 * time.Millisecond
)

// judge compares the whole queue as it was found with what was said before the cut.
func (l *ledger) judge() {
	gaps := slices.Clone(l.declared)
	present := map[string]bool{}
	for _, f := range l.found {
		if present[f.id] {
			l.complain("%s is in the queue twice", f.id)
			l.sums.twice++
		}
		present[f.id] = true
		if g, ok := l.gaps[f.id]; ok {
			gaps = append(gaps, g)
		}
	}
	l.judgeOrder()
	l.judgeFound()
	l.judgeMissing(present, gaps)
	l.judgeClaim()
	for id := range l.rejected {
		if !l.dead[id] {
			l.complain("%s was rejected and is not among the dead letters", id)
			l.sums.lost++
		}
		if present[id] {
			l.complain("%s was rejected and is in the queue", id)
		}
	}
	l.claimed = claim{}
}

// judgeOrder looks at the order of the queue: within a lane the epochs as they were opened, within these by number, and each producer's in the
// order of its puts.
func (l *ledger) judgeOrder() {
	type place struct {
		epoch string
		seq   int64
	}
	last := map[string]place{}
	left := map[string]bool{} // lane and epoch
	type series struct {
		epoch, lane string
		producer    uint64
	}
	puts := map[series]uint64{}
	for _, f := range l.found {
		if _, ok := l.gaps[f.id]; ok {
			continue
		}
		w := strings.Split(f.id, "-")
		lane, now := w[1], place{w[0], integer(w[2])}
		was, ok := last[lane]
		switch {
		case !ok:
		case was.epoch != now.epoch:
			left[lane+was.epoch] = true
			a, b := l.epochs[was.epoch], l.epochs[now.epoch]
			if left[lane+now.epoch] || (a != nil && b != nil && a.number > b.number) {
				l.complain("%s comes after the epoch %s", f.id, was.epoch)
			}
		case was.seq >= now.seq:
			l.complain("%s comes after %d", f.id, was.seq)
		}
		last[lane] = now
		key := series{w[0], lane, f.producer}
		if n, ok := puts[key]; ok && n >= f.n && f.producer > 0 {
			l.complain("%s holds the body %d of producer %d, after the body %d", f.id, f.n, f.producer, n)
		}
		puts[key] = f.n
	}
}

// judgeFound looks at each message by itself.
func (l *ledger) judgeFound() {
	again := 0
	for _, f := range l.found {
		if _, ok := l.gaps[f.id]; ok {
			continue
		}
		m := l.known[f.id]
		switch {
		case l.gone[f.id]:
			l.complain("%s was gone and is back", f.id)
			l.sums.twice++
		case m == nil: // put and not told in time, or readings
		case m.producer != 0 && (m.producer != f.producer || m.n != f.n):
			l.complain("%s holds the body %d of producer %d, and was put with %d of %d", f.id, f.n, f.producer, m.n, m.producer)
			l.sums.twice++
		case m.acked:
			again++
			if l.now-m.ackedAt > mayRepeatFor {
				l.complain("%s is handed out again, acknowledged %d ms before the cut", f.id, l.now-m.ackedAt)
			}
		}
		// It has outlived a cut, so from now on it is durable.
		l.known[f.id] = &message{producer: f.producer, n: f.n, durable: true}
	}
	if again > mayRepeat {
		l.complain("%d messages are handed out again although they were acknowledged", again)
	}
	l.sums.found += len(l.found)
	l.sums.again = max(l.sums.again, again)
}

// judgeMissing looks for everything that was confirmed.
func (l *ledger) judgeMissing(present map[string]bool, gaps []*gap) {
	unclean := map[string]bool{}
	for _, g := range gaps {
		if g.reason == "unclean-stop" {
			unclean[g.epoch] = true
		}
	}
	for id, m := range l.known {
		if present[id] {
			continue
		}
		delete(l.known, id)
		l.gone[id] = true
		name := id[:strings.IndexByte(id, '-')]
		e := l.epochs[name]
		switch {
		case m.asked:
		case declaredBy(id, gaps) != nil:
			declaredBy(id, gaps).missing++
			l.sums.declared++
		case !m.durable && e != nil && m.at >= l.now-e.maxLoss && e.maxLoss > 0:
			l.sums.unwritten++
			if !unclean[name] {
				l.complain("%s was lost within max_loss, and no gap says so", id)
			}
		default:
			l.sums.lost++
			l.complain("%s was confirmed (durable %t, %d ms before the cut) and is lost", id, m.durable, l.now-m.at)
		}
	}
	for _, g := range gaps {
		if g.missing > g.messages {
			l.complain("the gap from %d to %d of %s-%s declares %d messages, and %d are gone", g.from, g.to, g.epoch, g.lane, g.messages, g.missing)
		}
	}
}

// declaredBy returns the gap that declares the message to have been dropped, nil where there is none.
func declaredBy(id string, gaps []*gap) *gap {
	w := strings.Split(id, "-")
	seq := uint64(integer(w[2]))
	for _, g := range gaps {
		if g.reason == "quota" && g.epoch == w[0] && g.lane == w[1] && g.from <= seq && seq <= g.to {
			return g
		}
	}
	return nil
}

// judgeClaim looks for what the daemon's status said was on the disk: so many messages, and every reading older than max_loss.
func (l *ledger) judgeClaim() {
	if l.claimed.at.IsZero() {
		return
	}
	if n := uint64(len(l.found)); n < l.claimed.messages {
		l.complain("the status said that %d messages were on the disk, and there are %d", l.claimed.messages, n)
		l.sums.lost += int(l.claimed.messages - n)
	}
	newest := uint64(0)
	for _, f := range l.found {
		if f.producer == 0 {
			newest = max(newest, f.n)
		}
	}
	if at := time.UnixMilli(int64(newest)); l.claimed.at.Sub(at) > agentMaxLoss+agentInterval {
		l.complain("the newest reading is of %s, %s before the last status", at.UTC(), l.claimed.at.Sub(at))
		l.sums.lost++
	}
}
