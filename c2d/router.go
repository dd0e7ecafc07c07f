package c2d

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// NamedHandler is a handler with what its [[command]] table says beside its own keys.
type NamedHandler struct {
	Common
	Handler
}

// Options of a Router.
type Options struct {
	// Ledger is required; the caller closes it after the Router.
	Ledger *Ledger
	// Handlers by unique names.
	Handlers []NamedHandler
	// Now is the wall clock; default time.Now.
	Now func() time.Time
	// ClockTrusted says whether Now may be believed; default: always.
	ClockTrusted func() bool
	// Report puts a result message in the outbox and returns nil once it is durable. It is called by one goroutine at a time, again
	// after an error, and at the next start for what was not handed on: a result may be reported twice where the process
	// died in between. Default: results are only logged.
	Report func(ctx context.Context, r Report) error
	// Waiting is how many commands may wait for one handler; default 50, the depth of the hub's own queue.
	Waiting int
	// Logger defaults to a discarding one.
	Logger *slog.Logger
}

// Router takes commands in, has each carried out at most once and answers them (ARCHITECTURE.md). Make one with NewRouter, call Recover
// before the first Deliver, and Close at the end.
type Router struct {
	o        Options
	handlers map[string]*lane
	known    string // the handlers' names, for a person
	stop     chan struct{}
	intake   sync.Mutex // one Deliver at a time

	mu       sync.Mutex // guards what follows, and the lanes' fields
	closed   bool
	jobs     map[string]*job // waiting or running, by command id
	releases map[string]int  // how often an id was released of late
	cancels  map[*context.CancelCauseFunc]struct{}
	killed   bool   // cancels were called
	unrouted uint64 // rejected for a name nobody has
	telling  bool   // the reporter runs
	more     bool   // and there is more for it

	wg sync.WaitGroup
}

var errStopping = errors.New("the agent is stopping")

// NewRouter returns a router for the handlers; it panics when two share a name, which the configuration has ruled out.
func NewRouter(o *Options) *Router {
	r := &Router{
		o: *o, handlers: map[string]*lane{}, stop: make(chan struct{}), jobs: map[string]*job{},
		releases: map[string]int{}, cancels: map[*context.CancelCauseFunc]struct{}{},
	}
	if r.o.Now == nil {
		r.o.Now = time.Now
	}
	if r.o.ClockTrusted == nil {
		r.o.ClockTrusted = func() bool { return true }
	}
	if r.o.Waiting <= 0 {
		r.o.Waiting = 50
	}
	if r.o.Logger == nil {
		r.o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, h := range o.Handlers {
		if r.handlers[h.Name] != nil {
			panic("c2d: two handlers are called " + h.Name)
		}
		r.handlers[h.Name] = newLane(h, r.o.Logger)
	}
	r.known = strings.Join(slices.Sorted(maps.Keys(r.handlers)), ", ")
	return r
}

// Deliver takes one command in and returns soon; it never waits for a handler. settle is called exactly once, most often from another
// goroutine and possibly long after, with a context that carries ctx's values and ends with ctx: ctx should last as long as the link that the
// command came by. A handler runs on when ctx is done.
func (r *Router) Deliver(ctx context.Context, c Command, settle Settle) {
	r.intake.Lock()
	defer r.intake.Unlock()
	d := &delivery{id: c.ID, name: c.Name, settle: settle, at: time.Now(), verdict: make(chan verdict, 1)}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		r.answer(ctx, d, release("the agent is stopping"))
		return
	}
	r.wg.Add(1)
	live := r.jobs[c.ID]
	r.mu.Unlock()

	j, v := r.take(ctx, c, d, live)
	go func() {
		defer r.wg.Done()
		r.await(ctx, d, j, v)
	}()
}

// take finds the command's job or its verdict; exactly one of them is set.
func (r *Router) take(ctx context.Context, c Command, d *delivery, live *job) (*job, *verdict) {
	if c.ID == "" || len(c.ID) > 1024 {
		return nil, refuse("message-id of %d bytes: want 1 to 1024", len(c.ID))
	}
	if live != nil {
		if !bytes.Equal(live.hash, fingerprint(c)) {
			return nil, r.reused(c)
		}
		if live.attach(d) {
			r.count(c.Name, func(l *lane) { l.duplicates++ })
			return live, nil
		} // else it ended just now, and the ledger knows how
	}
	rec, err := r.o.Ledger.get(c.ID)
	if err != nil {
		r.o.Logger.Error("command not run: the ledger cannot be read", "command", c.Name, "id", c.ID, "error", err)
		return nil, release("nothing was done: " + err.Error())
	}
	if rec != nil {
		if !bytes.Equal(rec.Hash, fingerprint(c)) {
			return nil, r.reused(c)
		}
		if v := r.seen(ctx, rec, c); v != nil {
			r.count(c.Name, func(l *lane) { l.duplicates++ })
			return nil, v
		}
	}
	l, v := r.check(c)
	if v != nil {
		return nil, v
	}
	if rec == nil {
		rec = newRecord(c)
	} else {
		rec.Body, rec.Expires, rec.Accepted = c.Body, c.Expires, false // an idempotent one, once more
	}
	j := newJob(rec, l, "")
	j.deliveries = []*delivery{d}
	if !r.enqueue(ctx, j, r.o.Waiting) {
		return nil, release(fmt.Sprintf("nothing was done: %d commands already wait for %q", r.o.Waiting, c.Name))
	}
	return j, nil
}

func (r *Router) reused(c Command) *verdict {
	r.o.Logger.Warn("command refused: its id was used before for another command", "command", c.Name, "id", c.ID)
	return refuse("id reused: another command came under the message-id %q", c.MessageID)
}

// seen answers a redelivery from the ledger; nil means that the command may run again.
func (r *Router) seen(ctx context.Context, rec *record, c Command) *verdict {
	switch rec.State {
	case stateQueued:
		return &verdict{s: Accept} // as before; it waits for the next start
	case stateBegun:
		if err := r.interrupt(ctx, rec); err != nil { // Recover could not do it
			return release("not known yet: " + err.Error())
		}
	case stateFinished:
	}
	if l := r.handlers[c.Name]; rec.Result.Status == Interrupted && l != nil && l.h.Idempotent() {
		if rec.Age == 0 { // still in the list of those to be reported, which knows each command once
			return release("its interruption is not reported yet")
		}
		return nil
	}
	v := verdictOf(rec.Result)
	if v.s == Release { // it was accepted and is reported: to run it now could surprise
		v.s = Reject
	}
	return v
}

// check refuses what must not run (ARCHITECTURE.md).
func (r *Router) check(c Command) (*lane, *verdict) {
	l := r.handlers[c.Name]
	if l == nil {
		return nil, r.unknown(c)
	}
	args, err := arguments(c.Body)
	if err == nil {
		err = l.check(args)
	}
	if err != nil {
		return nil, refuse("%s: %v", c.Name, err)
	}
	trusted := r.o.ClockTrusted()
	if now := r.o.Now(); trusted && expired(c.Expires, now) {
		return nil, refuse("expired at %s, %s before it was looked at; it was not run",
			c.Expires.UTC().Format(time.RFC3339), now.Sub(c.Expires).Round(time.Second))
	}
	if !trusted && !l.h.Idempotent() {
		return nil, release("nothing was done: the device does not know the time yet")
	}
	if r.stuck(l) {
		return nil, release(fmt.Sprintf("nothing was done: an earlier run of %q does not end", c.Name))
	}
	return l, nil
}

func (r *Router) unknown(c Command) *verdict {
	r.mu.Lock()
	r.unrouted++
	r.mu.Unlock()
	switch {
	case c.Name == "":
		return refuse("no command: name it in the application property \"command\" or in the subject; known: %s", r.known)
	case r.known == "":
		return refuse("unknown command %q: this device has none configured", c.Name)
	}
	return refuse("unknown command %q; known: %s", c.Name, r.known)
}

func expired(at, now time.Time) bool { return !at.IsZero() && now.After(at) }

// arguments returns nil for an empty body.
func arguments(body []byte) (json.RawMessage, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, nil
	}
	var obj map[string]json.RawMessage
	if err := json.Unmarshal(body, &obj); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, fmt.Errorf("body is not JSON: %w at byte %d", err, syntax.Offset)
		}
		return nil, errors.New("body is not a JSON object: want {…}, or nothing")
	}
	if obj == nil {
		return nil, errors.New("body is null: want a JSON object, or nothing")
	}
	return body, nil
}
