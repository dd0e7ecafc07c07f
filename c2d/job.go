package c2d

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// job is a command that waits or runs. Its mutex is held over the ledger writes that concern it.
type job struct {
	id   string
	hash []byte
	lane *lane

	mu         sync.Mutex
	rec        *record
	stored     state // what the ledger has of this run: nothing, queued or begun
	ended      bool
	deliveries []*delivery // those without a verdict
}

func newJob(rec *record, l *lane, stored state) *job {
	return &job{id: rec.ID, hash: rec.Hash, lane: l, rec: rec, stored: stored}
}

// attach lets a redelivery wait for the same outcome; false when the job has ended.
func (j *job) attach(d *delivery) bool {
	const most = 8 // older ones came by links that are long gone
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended {
		return false
	}
	if len(j.deliveries) >= most {
		j.deliveries[0].verdict <- *release("delivered again since")
		j.deliveries = j.deliveries[1:]
	}
	j.deliveries = append(j.deliveries, d)
	return true
}

// dropLocked forgets a delivery that has its verdict; a job that nobody waits for and that was not accepted has ended.
func (j *job) dropLocked(d *delivery) {
	j.deliveries = slices.DeleteFunc(j.deliveries, func(x *delivery) bool { return x == d })
	j.ended = j.ended || (len(j.deliveries) == 0 && !j.rec.Accepted)
}

// endLocked gives every waiting delivery its verdict.
func (j *job) endLocked(v *verdict) {
	j.ended = true
	for _, d := range j.deliveries {
		d.verdict <- *v
	}
	j.deliveries = nil
}

// lane is a handler with its line of waiting commands. The Router's mutex guards all that changes.
type lane struct {
	name, typ    string
	h            Handler
	timeout      time.Duration
	settleWithin time.Duration
	log          *slog.Logger

	waiting []*job
	busy    bool          // a goroutine works on the line
	stuck   <-chan Result // of a Run that did not return when its time was over
	running *Running
	last    *Ended

	done, rejected, released, duplicates uint64
}

func newLane(h NamedHandler, log *slog.Logger) *lane {
	l := &lane{
		name: h.Name, typ: h.Type, h: h.Handler, timeout: h.Timeout.Duration, settleWithin: h.SettleWithin.Duration,
		log: log.With("command", h.Name),
	}
	if l.timeout <= 0 {
		l.timeout = 30 * time.Second
	}
	if l.settleWithin <= 0 {
		l.settleWithin = 10 * time.Second
	}
	l.settleWithin = min(l.settleWithin, 50*time.Second)
	return l
}

// check asks the handler; a panic is the handler's fault and not the program's end.
func (l *lane) check(args json.RawMessage) (err error) {
	defer func() {
		if v := recover(); v != nil {
			l.log.Error("command handler panicked in its check", "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("the handler crashed over the arguments: %v", v)
		}
	}()
	return l.h.Check(args)
}

// run calls the handler; a panic becomes an outcome.
func (l *lane) run(ctx context.Context, args json.RawMessage) (res Result) {
	defer func() {
		if v := recover(); v != nil {
			l.log.Error("command handler panicked", "panic", v, "stack", string(debug.Stack()))
			res = Result{Status: Crashed, Detail: fmt.Sprintf("the handler crashed: %v", v)}
		}
	}()
	return l.h.Run(ctx, args)
}

func (r *Router) stuck(l *lane) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return l.stuck != nil
}

// count changes a lane's counters.
func (r *Router) count(name string, fn func(*lane)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.handlers[name]; l != nil {
		fn(l)
	}
}
