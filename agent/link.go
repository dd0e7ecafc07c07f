package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"iotagent/c2d"
	"iotagent/internal/backoff"
	"iotagent/iothub"
	"iotagent/outbox"
)

// link keeps the connection to the hub: it dials, runs one session after the other and waits between them. It is one goroutine (run), with
// two more for each session: the receiver of commands and the settler of telemetry.
type link struct {
	dial   func(ctx context.Context) (*iothub.Client, error)
	queue  outbox.Queue
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

	// said and saidAt are run's own: the trouble that was logged last.
	said   string
	saidAt time.Time

	mu     sync.Mutex
	status LinkStatus
	client *iothub.Client // nil while not connected
}

// Router is what the link hands commands to; *c2d.Router is one.
type Router interface {
	// Deliver decides on a command and sees that settle is called exactly once. It does not wait for handlers.
	Deliver(ctx context.Context, c c2d.Command, settle c2d.Settle)
}

// LinkStatus is what the link is doing.
type LinkStatus struct {
	// State is "offline", "connecting", "online" or "waiting".
	State string `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since"`
	// TokenExpires is set while connected with a token.
	TokenExpires *time.Time `json:"token_expires,omitempty"`
	// Error, Class and Hint tell of the last failure; empty while online.
	Error string `json:"error,omitempty"`
	Class string `json:"class,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// NextAttempt is set while waiting.
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
	// PausedUntil is set while the hub asked for fewer messages.
	PausedUntil *time.Time `json:"paused_until,omitempty"`
	// Connects and Losses count since the start.
	Connects uint64 `json:"connects"`
	Losses   uint64 `json:"losses"`
	// Sent counts telemetry messages that the hub accepted; Resent those it gave back or whose fate was lost.
	Sent   uint64 `json:"sent"`
	Resent uint64 `json:"resent"`
	Dead   uint64 `json:"dead"`
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
	rest := newPatience()
	for ctx.Err() == nil {
		l.set(func(s *LinkStatus) { s.State, s.Since = "connecting", time.Now() })
		l.pulse.within("link", dialTimeout+slack)
		started := time.Now()
		worked, connected, err := l.session(ctx)
		if ctx.Err() != nil {
			break
		}
		lived := time.Duration(0)
		if connected {
			lived = time.Since(started)
		}
		l.wait(ctx, err, rest.next(classOf(err), lived, worked))
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
	l.complain(err, class, hint, d)
	l.set(func(s *LinkStatus) {
		s.State, s.Since, s.NextAttempt = "waiting", time.Now(), &next
		s.Error, s.Class, s.Hint = err.Error(), string(class), hint
		s.TokenExpires, s.PausedUntil = nil, nil
	})
	l.tell(fmt.Sprintf("waiting to reach the hub (%s): %v", class, err))
	l.pulse.within("link", d+slack)
	_ = backoff.Sleep(ctx, d) // run looks at ctx itself
}

// complainEvery is how often the same trouble is said again: an outage of a month must not fill the journal, which lies on flash too.
const complainEvery = time.Hour

// complain logs a failure when it is another one than before, and now and then when it is not.
func (l *link) complain(err error, class iothub.Class, hint string, retry time.Duration) {
	if text := err.Error(); text != l.said || time.Since(l.saidAt) >= complainEvery {
		l.said, l.saidAt = text, time.Now()
		l.log.Warn("hub not reached", "error", err, "class", string(class), "hint", hint, "retry_in", retry.Round(time.Millisecond).String())
		return
	}
	l.log.Debug("hub not reached", "error", err, "retry_in", retry.Round(time.Millisecond).String())
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
	l.connected(client)
	s := newSession(l, client)
	err = s.run(ctx)
	l.mu.Lock()
	l.client = nil
	if ctx.Err() == nil { // not our own goodbye
		l.status.Losses++
	}
	l.mu.Unlock()
	return s.worked.Load(), true, err
}

func (l *link) connected(c *iothub.Client) {
	var expires *time.Time
	if t := c.Status().TokenExpires; !t.IsZero() {
		expires = &t
	}
	l.mu.Lock()
	l.client = c
	l.mu.Unlock()
	l.set(func(s *LinkStatus) {
		s.State, s.Since, s.NextAttempt, s.TokenExpires = "online", time.Now(), nil, expires
		s.Error, s.Class, s.Hint = "", "", ""
		s.Connects++
	})
	l.said = ""
	l.log.Info("online")
	l.tell("online")
}

func (l *link) set(f func(*LinkStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.status)
}

// snapshot returns the present status.
func (l *link) snapshot() LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	if l.client != nil {
		if t := l.client.Status().TokenExpires; !t.IsZero() {
			s.TokenExpires = &t
		}
	}
	return s
}

func (l *link) online() bool { return l.snapshot().State == "online" }
