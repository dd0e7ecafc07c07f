package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"iotagent/agent/patience"
	"iotagent/c2d"
	"iotagent/internal/backoff"
	"iotagent/internal/clock"
	"iotagent/iothub"
	"iotagent/outbox"
)

// link keeps the connection to the hub: it dials, runs one session after the other and waits between them. It is one goroutine (run), with
// two more for each session: the receiver of commands and the settler of telemetry.
type link struct {
	dial   func(ctx context.Context) (*iothub.Client, error)
	queue  outbox.Queue
	clock  *clock.Clock
	time   *timekeeper
	router Router // nil: no commands are taken
	log    *slog.Logger
	pulse  *pulse
	// metered is told of every message that the hub accepts.
	metered *metered
	// up paces and counts the telemetry.
	up *uplink

	// progress is signalled at each settled message.
	progress chan<- struct{}
	// tell shows a line to the service manager.
	tell func(text string)
	// receiving ends when no more commands are to be taken.
	receiving context.Context

	// health asks a client how it is.
	health func(c *iothub.Client) iothub.Status
	said   *said

	mu     sync.Mutex
	status LinkStatus // what one connection after the other leaves; snapshot completes it
	past   [iothub.Parts]past
	client *iothub.Client // nil while not connected; giveUp ends it, born is when it connected
	giveUp context.CancelCauseFunc
	born   time.Time
}

// newLink returns a link that is offline.
func newLink(o *Options, p *pulse, progress chan<- struct{}) *link {
	now := time.Now()
	l := &link{
		dial: o.Dial, queue: o.Queue, clock: o.Clock, time: newTimekeeper(o), log: o.Logger, pulse: p, progress: progress,
		metered: newMetered(o.Clock, o.MeterFile, o.Logger),
		up:      newUplink(o.Uplink),
		tell:    func(text string) { o.Notify("STATUS=" + text) },
		health:  (*iothub.Client).Status,
		said:    &said{since: now},
		status:  LinkStatus{State: "offline", Since: now},
	}
	for i := range l.past {
		l.past[i].down = now
	}
	return l
}

// Router is what the link hands commands to; *c2d.Router is one.
type Router interface {
	// Deliver decides on a command and sees that settle is called exactly once. It does not wait for handlers.
	Deliver(ctx context.Context, c c2d.Command, settle c2d.Settle)
}

const (
	// dialTimeout bounds everything from the DNS question to both attached links.
	dialTimeout = 90 * time.Second
	// closeTimeout bounds an orderly goodbye.
	closeTimeout = 5 * time.Second
	// slack is what a loop may be late before the watchdog counts it as stuck.
	slack = 30 * time.Second
)

// run keeps the link up until ctx is done.
func (l *link) run(ctx context.Context) {
	defer l.pulse.done("link")
	rest := patience.New(nil)
	for ctx.Err() == nil {
		l.set(func(s *LinkStatus) { s.State, s.Since, s.NextAttempt = "connecting", time.Now(), nil })
		l.report()
		l.pulse.within("link", dialTimeout+slack)
		started := time.Now()
		l.time.dial()
		worked, connected, err := l.session(ctx)
		if ctx.Err() != nil {
			break
		}
		lived := time.Duration(0)
		if connected {
			lived = time.Since(started)
		}
		l.wait(ctx, err, rest.Next(err, lived, worked))
	}
	l.set(func(s *LinkStatus) { s.State, s.Since, s.NextAttempt = "offline", time.Now(), nil })
}

func classOf(err error) iothub.Class {
	if e, ok := errors.AsType[*iothub.Error](err); ok {
		return e.Class
	}
	return iothub.ClassNetwork
}

// wait says what happened and stays away for d.
func (l *link) wait(ctx context.Context, err error, d time.Duration) {
	next := time.Now().Add(d)
	class, hint := classOf(err), Hint(err)
	l.said.complain(l.log, err, d)
	l.set(func(s *LinkStatus) {
		s.State, s.Since, s.NextAttempt = "waiting", time.Now(), &next
		s.Error, s.Class, s.Hint = err.Error(), string(class), hint
		if class == iothub.ClassDisplaced {
			s.Displaced, s.DisplacedAt = s.Displaced+1, moment(time.Now())
		}
	})
	l.report()
	l.pulse.within("link", d+slack)
	_ = backoff.Sleep(ctx, d) // run looks at ctx itself
}

// Hint returns what a person can do about an error of Dial or of the link, "" when nothing is known.
func Hint(err error) string {
	e, ok := errors.AsType[*iothub.Error](err)
	if !ok {
		return ""
	}
	if e.Hint != "" {
		return e.Hint
	}
	switch e.Class {
	case iothub.ClassNetwork:
		return "check the cable, the name server and that port 5671 is open to the hub"
	case iothub.ClassAuth:
		return "check the device's key in the connection string, and this machine's clock"
	case iothub.ClassClock:
		return "set this machine's clock (timedatectl); nothing is lost meanwhile"
	case iothub.ClassDisabled:
		return "enable the device in the hub's registry"
	case iothub.ClassDisplaced:
		return "another program connects as this device; stop it or give it an identity of its own"
	case iothub.ClassQuota:
		return "the hub's daily message quota is used up; it starts anew at 00:00 UTC"
	case iothub.ClassThrottled, iothub.ClassServer:
		return "nothing to do here: the hub is busy or being moved"
	case iothub.ClassRedirect, iothub.ClassProtocol, iothub.ClassMessage, iothub.ClassUnknown:
	}
	return "not a trouble this program knows; it is tried again, and nothing is lost meanwhile"
}

// session is one connection from dial to its end.
func (l *link) session(ctx context.Context) (worked, connected bool, err error) {
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	client, err := l.dial(dctx)
	cancel()
	if err != nil {
		return false, false, err
	}
	sctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	l.connected(client, giveUp)
	s := newSession(l, client)
	err = s.run(sctx)
	if given, ok := errors.AsType[*iothub.Error](context.Cause(sctx)); ok && ctx.Err() == nil {
		err = given
	}
	l.ended(err, ctx.Err() != nil)
	return s.worked.Load(), true, err
}

func (l *link) connected(c *iothub.Client, giveUp context.CancelCauseFunc) {
	l.mu.Lock()
	l.client, l.giveUp, l.born = c, giveUp, time.Now()
	l.mu.Unlock()
	l.set(func(s *LinkStatus) {
		s.State, s.Since, s.NextAttempt = "connected", time.Now(), nil
		s.Error, s.Class, s.Hint = "", "", ""
		s.Connects++
	})
	l.report()
}

// ended keeps what outlives a connection; goodbye says that it ended because we wanted it to.
func (l *link) ended(err error, goodbye bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.health(l.client)
	l.client, l.giveUp = nil, nil
	l.status.ReadBytes += last.BytesRead
	l.status.WrittenBytes += last.BytesWritten
	for i := range last.Parts {
		h, p := &last.Parts[i], &l.past[i]
		p.losses += h.Losses
		if !h.Proof.IsZero() {
			p.proof = h.Proof
		}
		if h.Cause != nil {
			p.cause = h.Cause
		}
		if p.down.IsZero() {
			p.down = time.Now()
		}
	}
	if !goodbye {
		l.status.Losses++
		l.past[iothub.Connection].cause = err
	}
}

func (l *link) set(f func(*LinkStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.status)
}

// reached reports whether there is a connection.
func (l *link) reached() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client != nil
}
