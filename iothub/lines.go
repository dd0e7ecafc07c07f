package iothub

import (
	"context"
	"errors"
	"strings"
	"time"

	amqp "github.com/Azure/go-amqp"

	"iotagent/internal/backoff"
)

// line is one of the device's two links through all its re-attachments. Client's mutex guards it.
type line struct {
	part Part
	link // the present one; its name is "" while there is none

	change chan struct{} // closed when there is another link, or none any more
	closed chan struct{} // closed when the library has let the last link go

	opening bool // it is being attached: a loss is the attach's failure, which is counted once

	lost  *Error    // why there is none; nil while there is
	back  bool      // it may be had again on this connection
	since time.Time // when the present one was made

	asked    time.Time // when the probe that is out was sent; zero when none is
	heard    time.Time // the peer's last word
	answered bool      // it has answered a probe
	mute     bool      // it never does, not for a new link either

	strikes int // how often it was given up without a sign of life between
	struck  time.Time

	tries backoff.Backoff
	due   time.Time // when to try next
	fresh bool      // a token was put because of its loss
}

// link is what the library knows a link by; either sender or receiver is set.
type link struct {
	name     string
	sender   *amqp.Sender
	receiver *amqp.Receiver
}

func (l link) close(ctx context.Context) error {
	if l.sender != nil {
		return l.sender.Close(ctx)
	}
	return l.receiver.Close(ctx)
}

// telemetryPrefix begins the names of telemetry links.
const telemetryPrefix = "telemetry-"

func newLine(p Part) *line {
	l := &line{part: p, change: make(chan struct{}), closed: make(chan struct{}), tries: reattachWaits()}
	close(l.closed)
	return l
}

// reattachWaits are short, for a hub that moves a link expects it back at once.
func reattachWaits() backoff.Backoff {
	return backoff.Backoff{Floor: 100 * time.Millisecond, Cap: 2 * time.Second}
}

// lines returns those that this client keeps, telemetry first.
func (c *Client) lines() []*line {
	if c.o.TelemetryOnly {
		return []*line{c.telemetry}
	}
	return []*line{c.telemetry, c.command}
}

func (c *Client) lineLocked(name string) *line {
	for _, l := range c.lines() {
		if l.name == name && l.lost == nil {
			return l
		}
	}
	return nil
}

// present returns a line's link, the zero link when there is none, and a channel that is closed when that changes.
func (c *Client) present(l *line) (link, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.lost != nil {
		return link{}, l.change
	}
	return l.link, l.change
}

// linkLost is called by wire when a link ends, from either side. It must not block.
func (c *Client) linkLost(name string, session bool, remote *amqp.Error) {
	if c.closing.Load() || c.ctx.Err() != nil {
		return
	}
	purpose, _, _ := strings.Cut(name, "-")
	why := &Error{Op: purpose + " link", Class: ClassNetwork, Err: errors.New("closed by the hub without a reason")}
	if remote != nil {
		why = refused(purpose+" link", remote)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.lineLocked(name); l != nil {
		c.sessionGone = c.sessionGone || session
		c.loseLocked(l, why)
	} else if purpose == "cbs" && c.cbsLost == nil {
		c.cbsLost, c.cbsDue = why, true
		c.wakeUp()
	}
}

// linkFailed is for who finds a link dead in using it.
func (c *Client) linkFailed(dead link, why *Error) {
	if c.ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.lineLocked(dead.name); l != nil {
		c.loseLocked(l, why)
	}
}

// loseLocked ends the present link of a line; keep makes a new one.
func (c *Client) loseLocked(l *line, why *Error) {
	if l.opening {
		l.lost = why
		return
	}
	now := time.Now()
	if now.Sub(l.since) >= stable {
		l.tries.Reset()
		l.fresh = false
	}
	l.lost, l.asked, l.due = why, time.Time{}, now
	// A breach of the protocol may be a mishap once.
	l.back = passing(why.Class) || (why.Class == ClassProtocol && l.tries.Failures() == 0)
	if l.back {
		l.due = now.Add(l.tries.Next())
	}
	c.changedLocked(l)
	if l.part == Telemetry {
		c.gate.lose()
	}
	c.healthLocked(l.part, func(h *Health) { h.Phase, h.Cause, h.Deadline, h.Next = Down, why, time.Time{}, l.due })
	c.o.Logger.Debug("link lost", "link", l.part.String(), "error", why, "class", string(why.Class))
	c.wakeUp()
}

func (c *Client) changedLocked(l *line) {
	close(l.change)
	l.change = make(chan struct{})
}

// linkHeard is called by wire when the peer says something on a link. It must not block.
func (c *Client) linkHeard(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lineLocked(name)
	if l == nil {
		return
	}
	if !l.asked.IsZero() {
		l.answered = true
	}
	if l.part == Command && l.answered {
		l.strikes = 0
	}
	c.aliveLocked(l)
}

// telemetrySettled is called by the gate when the hub has settled messages.
func (c *Client) telemetrySettled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.telemetry; l.lost == nil {
		l.strikes = 0
		c.aliveLocked(l)
	}
}

// aliveLocked takes note of a proof of a line.
func (c *Client) aliveLocked(l *line) {
	l.heard, l.asked = time.Now(), time.Time{}
	deadline := l.heard.Add(c.o.KeepAlive + probeAnswer)
	if l.mute {
		deadline = time.Time{}
	}
	c.provenLocked(l.part, deadline)
}

func (c *Client) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// begin makes the session that the links live in.
func (c *Client) begin(ctx context.Context) error {
	s, err := c.conn.NewSession(ctx, nil)
	if err != nil {
		return failure("begin", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.sessionGone, c.sessionDead = s, false, false
	return nil
}

// attach makes a line's link. Settle modes stay unset, for the library then takes the hub's, and fails when it asked for others.
func (c *Client) attach(ctx context.Context, l *line) error {
	c.mu.Lock()
	session, now := c.session, link{name: linkName(l.part.String())}
	l.link, l.lost, l.since, l.opening = now, nil, time.Now(), true // it may be lost before the library returns
	c.mu.Unlock()
	var err error
	if l.part == Telemetry {
		now.sender, err = session.NewSender(ctx, c.at.telemetry, &amqp.SenderOptions{Name: now.name, Properties: c.linkProperties()})
	} else {
		now.receiver, err = session.NewReceiver(ctx, c.at.command, &amqp.ReceiverOptions{
			Name: now.name, Properties: c.linkProperties(), Credit: int32(min(c.o.Credit, 50)),
		})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l.opening = false
	if err != nil {
		e := failure("attach "+l.part.String(), err)
		l.lost = e
		return e
	}
	l.closed = make(chan struct{})
	c.letGo(now, l.closed) //nolint:contextcheck // it outlives the attaching
	if l.lost != nil {     // taken, and detached at once
		return l.lost
	}
	l.link = now
	c.changedLocked(l)
	c.aliveLocked(l)
	return nil
}

func (c *Client) linkProperties() map[string]any {
	properties := map[string]any{"com.microsoft:api-version": apiVersion}
	if c.o.UserAgent != "" {
		properties["com.microsoft:client-version"] = c.o.UserAgent
	}
	return properties
}

// letGo closes a link when it is lost or the connection has ended, and then done. The library needs to be told of either: a sender may wait for ever in a link that is
// gone, because when its context ends before the frame is written it gives the credit back to the link, and only Close tells it that nobody takes it.
func (c *Client) letGo(k link, done chan<- struct{}) {
	c.wg.Go(func() {
		defer close(done)
		for c.held(k) {
		}
		ctx, cancel := context.WithTimeout(c.ctx, detachTimeout)
		defer cancel()
		_ = k.close(ctx) // what the peer does not confirm has a new link beside it
	})
}

// held waits for a change and reports whether k is still the link of its line.
func (c *Client) held(k link) bool {
	l := c.telemetry
	if k.receiver != nil {
		l = c.command
	}
	now, change := c.present(l)
	if now.name != k.name {
		return false
	}
	select {
	case <-change:
		return true
	case <-c.conn.Done():
		return false
	}
}
