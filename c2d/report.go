package c2d

import (
	"context"
	"errors"
	"time"

	"iotagent/internal/backoff"
)

// Recover deals with what an earlier process left: a command that was begun is recorded as interrupted and reported, one that was
// accepted and waits is run now, an outcome that was not handed on is reported. Call it once, before the first Deliver; after an error
// what could not be dealt with is left for the next start or the redelivery.
func (r *Router) Recover(ctx context.Context) error {
	recs, err := r.o.Ledger.unfinished()
	if err != nil {
		return err
	}
	var errs []error
	var queued []*record
	for _, rec := range recs {
		switch {
		case rec.State == stateBegun:
			errs = append(errs, r.interrupt(ctx, rec))
		case r.handlers[rec.Name] == nil:
			errs = append(errs, r.orphan(rec))
		default:
			queued = append(queued, rec)
		}
	}
	sortBySeq(queued)
	for _, rec := range queued {
		r.o.Logger.Info("command accepted before the last stop is run now", "command", rec.Name, "id", rec.ID)
		r.enqueue(ctx, newJob(rec, r.handlers[rec.Name], stateQueued), 0)
	}
	if r.o.Report != nil {
		r.tell(ctx)
	}
	return errors.Join(errs...)
}

// interrupt records that nobody knows what became of a command.
func (r *Router) interrupt(ctx context.Context, rec *record) error {
	r.o.Logger.Warn("command was interrupted by a stop of the agent; it may have taken effect", "command", rec.Name, "id", rec.ID)
	rec.Result = Result{Status: Interrupted, Detail: "the agent stopped while it ran; whether it took effect is unknown"}
	rec.Ended = r.o.Now().UTC()
	if err := r.o.Ledger.finish(rec, r.o.Report != nil); err != nil {
		return err
	}
	if r.o.Report != nil {
		r.tell(ctx)
	}
	return nil
}

// orphan ends a command that was accepted and whose handler is gone from the configuration.
func (r *Router) orphan(rec *record) error {
	r.o.Logger.Warn("command was accepted before the last stop, but is not configured any more", "command", rec.Name, "id", rec.ID)
	rec.Result = Result{Status: Refused, Detail: "not configured any more; it was not run"}
	rec.Ended = r.o.Now().UTC()
	return r.o.Ledger.finish(rec, r.o.Report != nil)
}

// tell sees that the reporter runs and looks at the ledger once more. The caller is counted in r.wg, or the Router is not closed.
func (r *Router) tell(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.more = true
	if !r.telling {
		r.telling = true
		r.wg.Go(func() { r.reporter(context.WithoutCancel(ctx)) })
	}
}

// reporter hands on outcomes until none is due.
func (r *Router) reporter(ctx context.Context) {
	ctx, cancel := r.lend(ctx)
	defer cancel()
	b := backoff.Backoff{Floor: 100 * time.Millisecond, Cap: time.Minute}
	for {
		r.mu.Lock()
		if !r.more {
			r.telling = false
			r.mu.Unlock()
			return
		}
		r.more = false
		r.mu.Unlock()
		if err := r.reportAll(ctx, &b); err != nil {
			r.mu.Lock()
			r.telling = false // stopping: the next start reports
			r.mu.Unlock()
			return
		}
	}
}

// reportAll returns an error only when it gave up because the Router stops.
func (r *Router) reportAll(ctx context.Context, b *backoff.Backoff) error {
	for {
		rec, err := r.o.Ledger.nextDue()
		if err == nil && rec == nil {
			return nil
		}
		if err == nil {
			err = r.report(ctx, rec)
		}
		if err == nil {
			b.Reset()
			continue
		}
		r.o.Logger.Warn("result of a command not handed on", "error", err, "failures", b.Failures()+1)
		if r.stopping() {
			return err
		}
		r.pause(b.Next())
	}
}

func (r *Router) report(ctx context.Context, rec *record) error {
	err := r.o.Report(ctx, Report{Command: rec.Name, MessageID: rec.MessageID, Result: rec.Result, Ended: rec.Ended})
	if err != nil {
		return err
	}
	return r.o.Ledger.told(rec)
}
