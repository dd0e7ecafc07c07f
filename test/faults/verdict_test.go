package faults

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// The acks that a crash may undo.
const (
	ackCount = 1000
	ackTime  = time.Second
)

// findings are what came of opening an outbox after a fault.
type findings struct {
	entries []outbox.Entry
	gaps    []outbox.Gap // declared by then, in this opening or before
	ready   time.Duration
	// messages came out, of which again were acknowledged before. dropped were declared lost by the quota, staged by an unclean stop.
	messages, again, dropped, staged int
	// damaged are missing and covered by the gaps of damaged files.
	damaged int
	// lost are those that had to be there, doubled those that came twice.
	lost, doubled int
	aside         []string
	problems      []string
}

func (f *findings) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// err joins the first problems.
func (f *findings) err() error {
	if len(f.problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(f.problems[:min(5, len(f.problems))], "\n\t"))
}

// examine opens the outbox of a job after a fault at a moment, takes everything out, holds it against the history, puts one message more,
// closes it and checks the files. Nothing is acknowledged.
func examine(t *testing.T, j *job, h *history, now time.Time) *findings {
	t.Helper()
	f := &findings{}
	began := time.Now()
	q, err := outbox.Open(j.Dir, j.options())
	if err != nil {
		f.problem("open: %v", err)
		return f
	}
	if f.ready = time.Since(began); f.ready > ready {
		f.problem("ready after %s", f.ready)
	}
	f.entries = drain(t, q)
	f.aside = slices.DeleteFunc(q.Stats().SetAside, func(name string) bool { return slices.Contains(h.aside, name) })
	h.aside = append(h.aside, f.aside...)
	slack := h.slack(now)
	f.order(h)
	f.missing(h, now, slack)
	f.returned(h, now, slack)
	f.letters(q, h)
	h.begin(q.Stats().Epoch, time.Now())
	f.usable(t, q, h)
	if err := closeAndCheck(t, q, j.Dir); err != nil {
		f.problem("close: %v", err)
	}
	h.running = false
	f.problems = append(f.problems, h.wrong...)
	return f
}

// closeAndCheck closes an outbox and checks its files. Another test may be starting a process just now, which holds the lock of the
// directory, too, until its program runs: no other may start meanwhile, and that one is waited for.
func closeAndCheck(t *testing.T, q *outbox.Outbox, dir string) error {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	err := q.Close()
	d, e := os.Open(dir)
	if e != nil {
		t.Fatal(e)
	}
	if e := errors.Join(unix.Flock(int(d.Fd()), unix.LOCK_EX), d.Close()); e != nil {
		t.Fatal(e)
	}
	outboxtest.Check(t, dir)
	return err
}

// order looks at what came out: whole, once, known or just put when the fault came, and in order.
func (f *findings) order(h *history) {
	f.gaps = h.declared
	seen := map[outbox.ID]bool{}
	numbers := map[uint64]bool{}
	last := map[outbox.Lane]outbox.ID{}
	for _, e := range f.entries {
		if seen[e.ID] {
			f.doubled++
			f.problem("%s came twice", e.ID)
		}
		seen[e.ID] = true
		if e.Gap != nil {
			f.gaps = append(f.gaps[:len(f.gaps):len(f.gaps)], *e.Gap)
			continue
		}
		f.messages++
		n, err := number(e.Body)
		if err != nil {
			f.problem("%s: %v", e.ID, err)
			continue
		}
		if id, known := h.numbers[n]; numbers[n] || known && id != e.ID {
			f.problem("message %d as %s and as %s", n, id, e.ID)
		}
		numbers[n] = true
		l := last[e.ID.Lane]
		if h.epochs[e.ID.Epoch] < h.epochs[l.Epoch] || e.ID.Epoch == l.Epoch && e.ID.Seq <= l.Seq {
			f.problem("%s after %s", e.ID, l)
		}
		last[e.ID.Lane] = e.ID
	}
}

// missing looks for what did not come out.
func (f *findings) missing(h *history, now time.Time, slack time.Duration) {
	there := make(map[outbox.ID]bool, len(f.entries))
	for _, e := range f.entries {
		there[e.ID] = true
	}
	unclean := map[lane]bool{}
	for _, g := range f.gaps {
		if g.Reason == "unclean-stop" {
			unclean[lane{g.Epoch, g.Lane}] = true
			if !g.AtMost || g.Within != h.maxLoss {
				f.problem("the gap of an unclean stop: %+v", g)
			}
		}
	}
	for _, m := range h.order {
		if there[m.id] || m.leaving {
			continue
		}
		m.leaving = true // it was missed once
		switch {
		case declares(f.gaps, m.id, "quota"):
			f.dropped++
		case h.damage:
			f.damaged++
		case m.safe || m.promised && now.Sub(m.began) > h.maxLoss+slack:
			f.lost++
			f.problem("%s is lost, put %s before", m.id, now.Sub(m.began))
		case m.promised:
			f.staged++
			if !unclean[lane{m.id.Epoch, m.id.Lane}] {
				f.problem("%s is lost, put %s before, and no gap says so", m.id, now.Sub(m.began))
			}
		}
	}
	if declared, all := f.damage(); !all && declared < f.damaged {
		f.lost += f.damaged - declared
		f.problem("%d messages are lost to damage, gaps declare %d", f.damaged, declared)
	}
	for l := range h.uncleanLanes() {
		if !unclean[lane{h.epoch, l}] {
			f.problem("no gap says that epoch %x did not end cleanly, with messages in memory, lane %s", h.epoch, l)
		}
	}
}

// damage returns how many messages the gaps of damaged files declare; all says that one of them does not know.
func (f *findings) damage() (n int, all bool) {
	for _, g := range f.gaps {
		if g.Reason == "damage" {
			n += int(g.Messages)
			all = all || g.AtMost && g.Messages == 0
		}
	}
	return n, all
}

// returned looks at what came out although it had been acknowledged.
func (f *findings) returned(h *history, now time.Time, slack time.Duration) {
	for _, e := range f.entries {
		m := h.messages[e.ID]
		if m != nil && m.dead && !h.damage {
			f.problem("%s came back, and is among the dead letters", e.ID)
		}
		if m == nil || m.left.IsZero() {
			continue
		}
		f.again++
		if h.damage {
			continue
		}
		if m.gone || !h.failed && now.Sub(m.left) > ackTime+slack {
			f.problem("%s came back, acknowledged %s before", e.ID, now.Sub(m.left))
		}
	}
	if f.again > ackCount+200 && !h.failed && !h.damage { // and those of a call that was under way
		f.problem("%d messages came back that were acknowledged", f.again)
	}
}

// letters looks for the messages that were rejected.
func (f *findings) letters(q *outbox.Outbox, h *history) {
	ls, err := q.DeadLetters(1 << 20)
	if err != nil {
		f.problem("dead letters: %v", err)
	}
	kept := map[outbox.ID]bool{}
	for _, l := range ls {
		kept[l.ID] = true
		if len(l.Body) == 0 && (l.Gap != nil || h.damage) { // a file that was cut may have taken it along
			continue
		}
		if _, err := number(l.Body); err != nil {
			f.problem("dead letter %s: %v", l.ID, err)
		}
	}
	missing := 0
	for _, m := range h.messages {
		if m.dead && !kept[m.id] && m.number != 0 {
			missing++
		}
	}
	if dropped := int(q.Stats().DeadDropped); missing > dropped && !h.damage {
		f.lost += missing - dropped
		f.problem("%d messages were rejected and are not among the dead letters, %d letters were dropped", missing, dropped)
	}
}

// usable puts a message, and remembers it and everything that came out: it is on the disk now, whatever was said of it before.
func (f *findings) usable(t *testing.T, q *outbox.Outbox, h *history) {
	t.Helper()
	for _, e := range f.entries {
		if e.Gap != nil {
			continue
		}
		if m := h.messages[e.ID]; m == nil {
			n, _ := number(e.Body) // a bad one was told of before
			h.keep(&message{id: e.ID, number: n, promised: true, safe: true})
		} else {
			m.safe, m.leaving, m.left = true, false, time.Time{}
		}
	}
	h.settled = slices.DeleteFunc(h.settled, func(m *message) bool { return m.left.IsZero() })
	n := uint64(1)<<60 + uint64(len(h.epochs))
	ids, err := q.Put(t.Context(), outbox.Message{Lane: outbox.Normal, Durable: true, Body: seal(n, nil)})
	if err != nil {
		f.problem("put: %v", err)
		return
	}
	h.keep(&message{id: ids[0], number: n, began: time.Now(), promised: true, safe: true})
}
