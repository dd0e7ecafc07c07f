package c2d

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iotagent/internal/backoff"
)

const (
	// stopGrace is how long a handler may take to return after its context is done.
	stopGrace = 5 * time.Second
	// clockPoll is how often a command that was accepted looks whether the time is known now.
	clockPoll = time.Second
)

// enqueue puts the job in its handler's line and sees that somebody works on it; false when limit jobs wait already.
func (r *Router) enqueue(ctx context.Context, j *job, limit int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := j.lane
	if limit > 0 && len(l.waiting) >= limit {
		return false
	}
	r.jobs[j.id] = j
	l.waiting = append(l.waiting, j)
	if !l.busy {
		l.busy = true
		r.wg.Go(func() { r.work(context.WithoutCancel(ctx), l) })
	}
	return true
}

// work runs the jobs of one handler, one after the other, until none waits.
func (r *Router) work(ctx context.Context, l *lane) {
	for {
		r.mu.Lock()
		if len(l.waiting) == 0 {
			l.busy, l.waiting = false, nil
			r.mu.Unlock()
			return
		}
		j := l.waiting[0]
		l.waiting = l.waiting[1:]
		r.mu.Unlock()

		r.do(ctx, j)

		r.mu.Lock()
		if r.jobs[j.id] == j {
			delete(r.jobs, j.id)
		}
		l.running = nil
		r.mu.Unlock()
		r.unstick(l)
	}
}

// do takes one job from the line to its verdict.
func (r *Router) do(ctx context.Context, j *job) {
	if !r.mayRun(ctx, j) || !r.begin(ctx, j) {
		return
	}
	res := r.run(ctx, j)
	ended := r.o.Now()
	r.conclude(ctx, j, res, ended)
}

// mayRun looks again at what can have changed while the job waited. A command that was accepted waits here for the time to be known.
func (r *Router) mayRun(ctx context.Context, j *job) bool {
	for {
		j.mu.Lock()
		accepted, over := j.rec.Accepted, j.ended
		if over || r.stopping() {
			j.endLocked(release("nothing was done: " + errStopping.Error())) // what was accepted runs after the next start
			j.mu.Unlock()
			return false
		}
		now, trusted := r.o.Now(), r.o.ClockTrusted()
		switch {
		case trusted && expired(j.rec.Expires, now):
			j.mu.Unlock()
			res := Result{Status: Refused, Detail: "expired at " + j.rec.Expires.UTC().Format(time.RFC3339) + " while it waited; it was not run"}
			r.conclude(ctx, j, res, now)
			return false
		case trusted || j.lane.h.Idempotent():
			j.mu.Unlock()
			return true
		case !accepted:
			j.endLocked(release("nothing was done: the device does not know the time any more"))
			j.mu.Unlock()
			return false
		}
		j.mu.Unlock()
		r.pause(clockPoll)
	}
}

// begin writes that the job may have run from now on. Without that on the disk it must not run: it is given back or, when it was
// accepted already, waits for the disk.
func (r *Router) begin(ctx context.Context, j *job) bool {
	b := backoff.Backoff{Floor: 100 * time.Millisecond, Cap: 10 * time.Second}
	for {
		j.mu.Lock()
		before := *j.rec
		j.rec.State, j.rec.Result = stateBegun, Result{}
		err := r.o.Ledger.put(j.rec)
		if err == nil {
			j.stored = stateBegun
			j.mu.Unlock()
			return true
		}
		*j.rec = before
		j.lane.log.Error("command not run: the ledger cannot be written", "id", j.id, "error", err, "failures", b.Failures()+1)
		if !j.rec.Accepted || r.stopping() {
			j.endLocked(release("nothing was done: " + err.Error()))
			j.mu.Unlock()
			return false
		}
		j.mu.Unlock()
		r.pause(b.Next())
		if !r.mayRun(ctx, j) {
			return false
		}
	}
}

// run calls the handler, for as long as its timeout and, when the agent stops, as long as Close allows.
func (r *Router) run(ctx context.Context, j *job) Result {
	l := j.lane
	args, err := arguments(j.rec.Body)
	if err != nil { // looked at before it was queued; another version of the program may have
		return Result{Status: Refused, Detail: err.Error()}
	}
	ctx, cancel := r.lend(ctx)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, l.timeout)
	defer stop()

	r.mu.Lock()
	l.running = &Running{ID: j.id, Since: r.o.Now().UTC()}
	r.mu.Unlock()
	l.log.Info("command begun", "id", j.id)

	ch := make(chan Result, 1)
	r.wg.Go(func() { ch <- l.run(ctx, args) })
	select {
	case res := <-ch:
		return verify(ctx, res)
	case <-ctx.Done():
	}
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case res := <-ch:
		return verify(ctx, res)
	case <-grace.C:
	}
	return r.outstay(ctx, l, ch)
}

// outstay gives the outcome of a run that does not end.
func (r *Router) outstay(ctx context.Context, l *lane, ch <-chan Result) Result {
	l.log.Error("command handler does not end; its further commands are given back until it does", "timeout", l.timeout)
	r.mu.Lock()
	l.stuck = ch
	r.mu.Unlock()
	return verify(ctx, Result{Status: TimedOut, Detail: fmt.Sprintf("did not end within %s and cannot be stopped", l.timeout)})
}

// unstick lets the line stand still until a run that did not end in time has ended: a handler does one thing at a time.
func (r *Router) unstick(l *lane) {
	r.mu.Lock()
	ch := l.stuck
	r.mu.Unlock()
	if ch == nil {
		return
	}
	res := <-ch
	l.log.Warn("command handler ended after all", "status", res.Status, "detail", res.Detail)
	r.mu.Lock()
	l.stuck = nil
	r.mu.Unlock()
}

// verify sees that an outcome says what happened.
func verify(ctx context.Context, res Result) Result {
	switch res.Status {
	case Done, Refused, TryLater:
		return res
	case Failed, TimedOut, Crashed:
		if errors.Is(context.Cause(ctx), errStopping) {
			return Result{Status: Interrupted, Code: res.Code, Detail: "ended because the agent stopped: " + res.Detail}
		}
		return res
	case Interrupted:
	}
	return Result{Status: Failed, Code: res.Code, Detail: fmt.Sprintf("the handler gave the outcome %q: %s", res.Status, res.Detail)}
}

// conclude writes the outcome and gives the verdict. While the disk fails it tries again: a command that has begun is settled as accepted
// meanwhile, and when the program ends first, it is found as interrupted.
func (r *Router) conclude(ctx context.Context, j *job, res Result, ended time.Time) {
	b := backoff.Backoff{Floor: 100 * time.Millisecond, Cap: 10 * time.Second}
	for {
		err := r.record(ctx, j, res, ended)
		if err == nil {
			return
		}
		j.lane.log.Error("outcome of a command not written", "id", j.id, "error", err, "failures", b.Failures()+1)
		if r.stopping() {
			j.mu.Lock()
			v := verdictOf(res)
			if v.s == Release { // the ledger will say that it may have run
				v = &verdict{s: Accept}
			}
			j.endLocked(v)
			j.mu.Unlock()
			return
		}
		r.pause(b.Next())
	}
}

func (r *Router) record(ctx context.Context, j *job, res Result, ended time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := *j.rec
	j.rec.Result, j.rec.Ended = res, ended.UTC()
	due := r.o.Report != nil && (j.rec.Accepted || res.Status == Interrupted)
	var err error
	switch {
	case j.stored == "": // refused before it was written: nothing to remember
	case res.Status == TryLater && !j.rec.Accepted:
		err = r.o.Ledger.erase(j.rec)
	default:
		err = r.o.Ledger.finish(j.rec, due)
	}
	if err != nil {
		*j.rec = before
		return err
	}
	r.ended(j, ended)
	if due {
		r.tell(ctx)
	}
	j.endLocked(verdictOf(res))
	return nil
}
