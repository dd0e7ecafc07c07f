package faults

import (
	"slices"
	"time"

	"iotagent/outbox"
)

// history is what the notes of workers tell up to a moment: what the outbox had promised by then.
type history struct {
	maxLoss time.Duration
	// damage says that files were damaged: gaps may say so, and what was acknowledged may come back.
	damage bool

	messages map[outbox.ID]*message
	order    []*message // as their puts returned
	settled  []*message // as their acks returned
	numbers  map[uint64]outbox.ID
	epochs   map[uint64]int // and their order
	declared []outbox.Gap   // handed out to a worker
	wrong    []string
	aside    []string // files that were set aside before
	failed   bool     // the disk failed under this epoch, or a put did

	epoch   uint64
	running bool             // it was not being closed
	calls   map[uint64]*note // that have begun
	before  map[uint64][2]int
	beat    time.Time
	stall   time.Duration // the longest time between two beats of this epoch, beyond what is normal
	commit  time.Duration // the longest durable put of this epoch
}

// message is one whose put returned ids.
type message struct {
	id     outbox.ID
	number uint64
	began  time.Time // when its Put was called
	// promised: its put returned nil. safe: it was fsynced, as a promise says.
	promised, safe bool
	// leaving: an ack or a reject was called, so it may be gone. left: the ack returned then. gone: a promise says that it does not come back.
	leaving, gone bool
	left          time.Time
	dead          bool // its reject returned
}

func newHistory(maxLoss time.Duration) *history {
	return &history{maxLoss: maxLoss, messages: map[outbox.ID]*message{}, numbers: map[uint64]outbox.ID{}, epochs: map[uint64]int{}}
}

// begin notes a new epoch.
func (h *history) begin(epoch uint64, at time.Time) {
	h.epochs[epoch] = len(h.epochs)
	h.epoch, h.running, h.failed = epoch, true, false
	h.calls, h.before = map[uint64]*note{}, map[uint64][2]int{}
	h.beat, h.stall, h.commit = at, 0, 0
}

func (h *history) add(n note) {
	switch n.What {
	case opened:
		h.begin(n.Epoch, n.time())
	case putting:
		h.calls[n.Call] = &n
	case put, notSafe, refused:
		h.put(&n)
	case syncing:
		h.before[n.Call] = [2]int{len(h.order), len(h.settled)}
	case synced:
		h.settle(h.before[n.Call])
	case closing:
		h.running = false
	case closed:
		h.settle([2]int{len(h.order), len(h.settled)})
	case gaps:
		h.declared = append(h.declared, n.Gaps...)
	case acking, acked, rejecting, rejected:
		h.leave(&n)
	case degraded:
		h.failed = true
	case beat:
		h.stall = max(h.stall, n.time().Sub(h.beat)-beatEvery)
		h.beat = n.time()
	case wrong:
		h.wrong = append(h.wrong, n.Error)
	}
}

func (h *history) put(n *note) {
	began := h.calls[n.Call].time()
	delete(h.calls, n.Call)
	if n.What != put {
		h.failed = true
	} else if n.Safe {
		h.commit = max(h.commit, n.time().Sub(began))
	}
	for i, id := range n.IDs {
		h.keep(&message{id: id, number: n.First + uint64(i), began: began, promised: n.What == put, safe: n.What == put && n.Safe})
	}
}

// keep adds a message.
func (h *history) keep(m *message) {
	if old := h.messages[m.id]; old != nil && old.number != 0 {
		h.wrong = append(h.wrong, m.id.String()+" was given twice")
	} else if old != nil { // it was acknowledged before its put returned
		m.leaving, m.left, m.dead = old.leaving, old.left, old.dead
		*old = *m
		m = old
	}
	h.messages[m.id] = m
	h.order = append(h.order, m)
	h.numbers[m.number] = m.id
}

// settle notes that the first so many messages and acks are fsynced.
func (h *history) settle(n [2]int) {
	for _, m := range h.order[:n[0]] {
		m.safe = true
	}
	for _, m := range h.settled[:n[1]] {
		m.gone = true
	}
}

func (h *history) leave(n *note) {
	for _, id := range n.IDs {
		m := h.messages[id]
		if m == nil { // a gap, or a message whose put returns later
			m = &message{id: id}
			h.messages[id] = m
		}
		m.leaving = true
		switch n.What {
		case acked:
			m.left = n.time()
			h.settled = append(h.settled, m)
		case rejected:
			m.dead = true
		}
	}
}

// slack is how long the machine took, at the worst, to run what was due and to do one commit in this epoch, as the worker measured it.
func (h *history) slack(now time.Time) time.Duration {
	commit, stall := h.commit, max(h.stall, now.Sub(h.beat)-beatEvery)
	for _, n := range h.calls {
		if n.Safe {
			commit = max(commit, now.Sub(n.time()))
		}
	}
	return commit + stall
}

// declares says whether one of the gaps tells of the loss of a message, for the reason given.
func declares(gs []outbox.Gap, id outbox.ID, reason string) bool {
	return slices.ContainsFunc(gs, func(g outbox.Gap) bool {
		return g.Reason == reason && g.Lane == id.Lane && g.Epoch == id.Epoch && g.From <= id.Seq && id.Seq <= g.To
	})
}

// uncleanLanes returns the lanes in which this epoch, which was cut off, put something that was not fsynced at once.
func (h *history) uncleanLanes() map[outbox.Lane]bool {
	in := map[outbox.Lane]bool{}
	if !h.running || h.maxLoss == 0 {
		return in
	}
	for _, m := range h.order {
		if m.id.Epoch == h.epoch && m.promised && !m.safe {
			in[m.id.Lane] = true
		}
	}
	return in
}
