package powercut

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ledger knows what a guest has said about one disk, over all its starts, and judges what is found after a cut. What the lines mean
// is told in the package comment of the guest.
type ledger struct {
	known    map[string]*message // put or found, and not known to be gone
	gone     map[string]bool     // found to be gone
	gaps     map[string]*gap     // found
	declared []*gap              // acknowledged
	rejected map[string]bool
	epochs   map[string]*epoch
	claimed  claim

	epoch *epoch // the present one; nil before Open
	now   int64  // of the present start
	found []found
	dead  map[string]bool

	readyLimit int64 // milliseconds from the start of a program until it works
	sums       sums
	bad        []string
}

type message struct {
	producer, n uint64
	durable     bool
	at          int64 // the guest's milliseconds when Put had returned
	asked       bool
	acked       bool
	ackedAt     int64
}

type found struct {
	id          string
	producer, n uint64
}

type gap struct {
	epoch, lane        string
	from, to, messages uint64
	reason             string
	missing            uint64 // how many of what was confirmed it stands for
}

type epoch struct {
	number  int   // in the order of opening
	maxLoss int64 // milliseconds
}

// claim is what the daemon's status says is on the disk.
type claim struct {
	messages uint64
	at       time.Time
}

// sums are for the table.
type sums struct {
	confirmed, found, lost, twice int
	again                         int // most of them after one cut: handed out although acknowledged
	unwritten                     int // lost within max_loss
	declared                      uint64
	worstReady                    int64
}

func newLedger(readyLimit int64) *ledger {
	return &ledger{
		readyLimit: readyLimit,
		known:      map[string]*message{}, gone: map[string]bool{}, gaps: map[string]*gap{}, rejected: map[string]bool{},
		epochs: map[string]*epoch{}, dead: map[string]bool{},
	}
}

func (l *ledger) complain(format string, args ...any) {
	if len(l.bad) < 50 {
		l.bad = append(l.bad, fmt.Sprintf(format, args...))
	}
}

// start says that the machine starts anew.
func (l *ledger) start() {
	l.found, l.epoch = nil, nil
	l.dead = map[string]bool{}
}

// hear takes one line. It returns what has to be answered, "" for nothing.
func (l *ledger) hear(line string) (answer string) {
	kind, rest, _ := strings.Cut(line, " ")
	w := strings.Fields(rest)
	defer func() {
		if recover() != nil { // a word is missing
			l.complain("a line that nobody understands: %q", line)
		}
	}()
	switch kind {
	case "mounted":
	case "open":
		l.hearReady(integer(w[0]))
		if _, ok := l.epochs[w[1]]; ok {
			l.complain("the epoch %s for the second time", w[1])
		}
		l.epochs[w[1]] = &epoch{number: len(l.epochs)}
		l.epoch = l.epochs[w[1]]
	case "ready":
		l.hearReady(integer(w[0]))
	case "check":
		if rest != "sound" {
			l.complain("check: %s", rest)
		}
	case "item":
		l.found = append(l.found, found{w[0], uint64(integer(w[1])), uint64(integer(w[2]))})
	case "bad":
		l.complain("%s has a body that was not put", w[0])
	case "gap":
		l.hearGap(w)
	case "dead":
		l.dead[w[0]] = true
	case "listed":
		l.judge()
	case "work":
		l.now = 0
		if l.epoch != nil { // the agent's daemon does not tell it
			l.epoch.maxLoss = integer(w[0])
		}
	case "put":
		l.hearPut(w)
	case "ask":
		for _, id := range w[1:] {
			l.hearAsk(id)
		}
		return w[0]
	case "acked":
		l.hearAcked(w)
	case "rejected":
		l.rejected[w[0]] = true
	case "sent":
		for i, id := range w[2:] {
			l.confirm(id, &message{producer: uint64(integer(w[0])), n: uint64(integer(w[1])) + uint64(i), durable: true})
		}
	case "status":
		l.hearStatus(rest)
	case "now":
		l.now = integer(w[0])
	case "fail":
		l.complain("%s", rest)
	default:
		l.complain("a line that nobody understands: %q", line)
	}
	return ""
}

// integer panics on anything else, which hear turns into a complaint.
func integer(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (l *ledger) hearReady(ms int64) {
	l.sums.worstReady = max(l.sums.worstReady, ms)
	if ms > l.readyLimit {
		l.complain("ready after %d ms", ms)
	}
}

func (l *ledger) hearGap(w []string) {
	g := &gap{epoch: w[1], lane: w[2], from: uint64(integer(w[3])), to: uint64(integer(w[4])), messages: uint64(integer(w[5])), reason: w[6]}
	if old := l.gaps[w[0]]; old != nil { // it may have grown
		g.missing = old.missing
	}
	l.gaps[w[0]] = g
	l.found = append(l.found, found{id: w[0]})
	switch e := l.epochs[g.epoch]; {
	case g.reason == "quota":
	case g.reason == "unclean-stop" && (e == nil || e.maxLoss > 0):
	default:
		l.complain("a gap that should not be: %v", w)
	}
}

func (l *ledger) hearPut(w []string) {
	l.now = integer(w[0])
	for i, id := range w[4:] {
		l.confirm(id, &message{
			producer: uint64(integer(w[2])), n: uint64(integer(w[3])) + uint64(i), durable: w[1] == "true", at: l.now,
		})
	}
}

func (l *ledger) confirm(id string, m *message) {
	if old := l.known[id]; old != nil && old.asked && old.producer == 0 {
		m.asked, m.acked, m.ackedAt = true, old.acked, old.ackedAt // before its put was told
	} else if old != nil || l.gone[id] {
		l.complain("the id %s for the second time", id)
		l.sums.twice++
	}
	l.known[id] = m
	l.sums.confirmed++
}

func (l *ledger) hearAsk(id string) {
	if g, ok := l.gaps[id]; ok {
		l.declared = append(l.declared, g)
		return
	}
	if l.known[id] == nil {
		l.known[id] = &message{} // its put has not been told yet
	}
	l.known[id].asked = true
}

func (l *ledger) hearAcked(w []string) {
	for _, id := range w[1:] {
		if m := l.known[id]; m != nil {
			m.acked, m.ackedAt = true, integer(w[0])
		}
	}
}

// hearStatus takes the daemon's own word for what is on the disk.
func (l *ledger) hearStatus(text string) {
	var s struct {
		Time   time.Time
		Outbox struct {
			Lanes   []struct{ Queued uint64 }
			RAMOnly uint64 `json:"ram_only"`
		}
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		l.complain("the status %q: %v", text, err)
		return
	}
	c := claim{at: s.Time}
	for _, lane := range s.Outbox.Lanes {
		c.messages += lane.Queued
	}
	c.messages -= s.Outbox.RAMOnly
	l.claimed = c
}
