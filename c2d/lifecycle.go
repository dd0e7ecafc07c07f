package c2d

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Running is the command that a handler works on.
type Running struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
}

// Ended is the last command that a handler ended.
type Ended struct {
	ID string `json:"id"`
	Result
	At time.Time `json:"at"`
}

// CommandStatus is where one configured command stands.
type CommandStatus struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// State is the handler's own: {"level":"high"}.
	State   map[string]string `json:"state,omitempty"`
	Running *Running          `json:"running,omitempty"`
	// Stuck: the last run did not end in time and still goes on.
	Stuck   bool   `json:"stuck,omitempty"`
	Waiting int    `json:"waiting"`
	Last    *Ended `json:"last,omitempty"`
	// Counted since the start: commands with the status done, rejections, releases, and redeliveries among them.
	Done       uint64 `json:"done"`
	Rejected   uint64 `json:"rejected"`
	Released   uint64 `json:"released"`
	Duplicates uint64 `json:"duplicates"`
}

// Snapshot is where the Router stands.
type Snapshot struct {
	// Commands in the order of their names.
	Commands []CommandStatus `json:"commands"`
	// Unknown counts commands rejected for a name that nobody has.
	Unknown uint64 `json:"unknown"`
}

// Status returns where the Router stands. It asks each handler for its State.
func (r *Router) Status() Snapshot {
	s := Snapshot{Commands: []CommandStatus{}}
	for _, name := range slices.Sorted(maps.Keys(r.handlers)) {
		l := r.handlers[name]
		state := l.h.State() // outside the lock: it is not our code
		r.mu.Lock()
		s.Commands = append(s.Commands, CommandStatus{
			Name: l.name, Type: l.typ, State: state, Running: l.running, Stuck: l.stuck != nil, Waiting: len(l.waiting), Last: l.last,
			Done: l.done, Rejected: l.rejected, Released: l.released, Duplicates: l.duplicates,
		})
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Unknown = r.unrouted
	return s
}

// ended notes a job's outcome for Status and the log; the job's mutex is held.
func (r *Router) ended(j *job, at time.Time) {
	res := j.rec.Result
	j.lane.log.Info("command ended", "id", j.id, "status", res.Status, "code", res.Code, "detail", clip(res.Detail, reasonMax))
	r.mu.Lock()
	defer r.mu.Unlock()
	if res.Status == Done {
		j.lane.done++
	}
	if res.Status != TryLater {
		delete(r.releases, j.id)
	}
	j.lane.last = &Ended{ID: j.id, Result: res, At: at.UTC()}
}

// Close takes no more commands, gives back those that wait and were not accepted, lets those that run end until ctx is done, cancels
// what still runs, and closes the handlers, which brings them to their safe state. A run that was cancelled is recorded as
// interrupted. The error names handlers that did not let go.
func (r *Router) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	close(r.stop)
	r.mu.Unlock()

	all := make(chan struct{})
	go func() { r.wg.Wait(); close(all) }()
	select {
	case <-all:
	case <-ctx.Done():
		r.kill()
		last := time.NewTimer(stopGrace + time.Second)
		defer last.Stop()
		select {
		case <-all:
		case <-last.C:
		}
	}
	return r.closeHandlers()
}

func (r *Router) closeHandlers() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(r.handlers)) {
		l := r.handlers[name]
		r.mu.Lock()
		busy := l.running != nil || l.stuck != nil
		r.mu.Unlock()
		if busy {
			errs = append(errs, fmt.Errorf("command %q: its run does not end; it was left as it is", name))
			continue
		}
		if err := l.h.Close(); err != nil {
			errs = append(errs, fmt.Errorf("command %q: close: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// lend returns a context that lives on when the delivery's is done, until its cancel is called or Close runs out of patience.
func (r *Router) lend(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancels[&cancel] = struct{}{}
	if r.killed {
		cancel(errStopping)
	}
	return ctx, func() {
		r.mu.Lock()
		delete(r.cancels, &cancel)
		r.mu.Unlock()
		cancel(nil)
	}
}

func (r *Router) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = true
	for cancel := range r.cancels {
		(*cancel)(errStopping)
	}
}

func (r *Router) stopping() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// pause waits for d or until the Router stops.
func (r *Router) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.stop:
	}
}

func sortBySeq(rs []*record) {
	slices.SortFunc(rs, func(a, b *record) int { return cmp.Compare(a.Seq, b.Seq) })
}
