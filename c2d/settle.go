package c2d

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// lockLife is how long after delivery the hub may still take a settlement: its lock lasts 60 s and cannot be renewed.
	lockLife = 55 * time.Second
	// reasonMax keeps the description of a rejection well inside the smallest AMQP frame.
	reasonMax = 400
	// answerTimeout bounds one settlement, which needs no more than a round trip.
	answerTimeout = 30 * time.Second
)

// verdict is what the hub is to be told.
type verdict struct {
	s      Settlement
	reason string
}

func refuse(format string, args ...any) *verdict {
	return &verdict{Reject, string(Refused) + ": " + fmt.Sprintf(format, args...)}
}

func release(reason string) *verdict { return &verdict{Release, reason} }

// verdictOf turns an outcome into the answer for the hub (ARCHITECTURE.md, life of a command).
func verdictOf(res Result) *verdict {
	switch res.Status {
	case Done:
		return &verdict{s: Accept}
	case TryLater:
		return release(string(TryLater) + ": " + res.Detail)
	case Refused, Failed, TimedOut, Crashed, Interrupted:
	}
	return &verdict{Reject, string(res.Status) + ": " + res.Detail}
}

// delivery is one arrival of a command, waiting for its verdict.
type delivery struct {
	id, name string
	settle   Settle
	at       time.Time
	verdict  chan verdict // holds one, so that nobody waits to write it
}

// await answers the delivery: with v, with the job's verdict, or with "accepted" when the job takes longer than the hub should wait.
func (r *Router) await(ctx context.Context, d *delivery, j *job, v *verdict) {
	if v == nil {
		timer := time.NewTimer(j.lane.settleWithin)
		defer timer.Stop()
		select {
		case got := <-d.verdict:
			v = &got
		case <-timer.C:
			v = r.late(j, d)
		}
	}
	if v.s == Release {
		r.hold(d)
	}
	r.answer(ctx, d, v)
}

// late answers a delivery whose command has not ended in time: once it is in the ledger, it is accepted.
func (r *Router) late(j *job, d *delivery) *verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended {
		got := <-d.verdict // there already
		return &got
	}
	if j.stored == "" {
		before := *j.rec
		j.rec.State, j.rec.Accepted = stateQueued, true
		if err := r.o.Ledger.put(j.rec); err != nil {
			*j.rec = before
			j.dropLocked(d)
			r.o.Logger.Error("waiting command given back: the ledger cannot be written", "command", d.name, "id", d.id, "error", err)
			return release("nothing was done: " + err.Error())
		}
		j.stored = stateQueued
	}
	j.rec.Accepted = true
	j.dropLocked(d)
	r.o.Logger.Info("command accepted before its end", "command", d.name, "id", d.id, "after", j.lane.settleWithin)
	return &verdict{s: Accept}
}

// hold keeps a delivery that is to be released for a while, longer each time: the hub delivers a released message again at once and
// gives it up after a few deliveries.
func (r *Router) hold(d *delivery) {
	const first, most, remembered = 100 * time.Millisecond, 10 * time.Second, 256
	r.mu.Lock()
	n := r.releases[d.id]
	if n == 0 && len(r.releases) >= remembered {
		clear(r.releases)
	}
	r.releases[d.id] = n + 1
	r.mu.Unlock()

	wait := min(first<<min(n, 10), most, lockLife-time.Since(d.at))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.stop:
	}
}

// answer calls settle. An answer that does not arrive is no harm: the hub delivers again, and the ledger knows.
func (r *Router) answer(ctx context.Context, d *delivery, v *verdict) {
	reason := clip(v.reason, reasonMax)
	log := r.o.Logger.With("command", d.name, "id", d.id)
	switch v.s {
	case Accept:
		log.Debug("command accepted")
	case Reject:
		log.Warn("command rejected", "reason", reason)
		r.count(d.name, func(l *lane) { l.rejected++ })
	case Release:
		log.Info("command released", "reason", reason)
		r.count(d.name, func(l *lane) { l.released++ })
	}
	if v.s != Reject {
		reason = ""
	}
	sctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := d.settle(sctx, v.s, reason); err != nil {
		log.Warn("command not settled; the hub will deliver it again", "error", err)
	}
}

// clip shortens s to at most n bytes, at a character's border.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
