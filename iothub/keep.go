package iothub

import (
	"context"
	"errors"
	"time"
)

const (
	// probeAnswer is how long the peer may take to answer a FLOW with echo.
	probeAnswer = 10 * time.Second
	// detachTimeout is how long it may take to let a link or a session go before a new one is made beside it.
	detachTimeout = 2 * time.Second
	// attachTimeout is how long it may take to answer for a new one.
	attachTimeout = 8 * time.Second
	// stable is how long a link must have lived for its loss to begin a new series of waits.
	stable = time.Minute
	// forgiven is after how long an earlier strike says nothing about a new one.
	forgiven = 10 * time.Minute
	// maxTries is how often a link is asked for in one series. Then the connection is given up, and the next one made with the longer waits of connections.
	maxTries = 5
)

// keep looks after the links until the client ends: it probes what is idle, gives up what is dead and makes it anew, alone where the hub plays along,
// otherwise with its session. What cannot be mended here ends the client. It is one goroutine.
func (c *Client) keep() {
	tick := time.NewTicker(max(min(c.o.KeepAlive/20, c.o.SettleTimeout/20, time.Second), time.Millisecond))
	defer tick.Stop()
	for c.ctx.Err() == nil {
		c.inspect()
		c.mend()
		select {
		case <-c.ctx.Done():
		case <-c.wake:
		case <-tick.C:
		}
	}
}

// inspect notices what is dead, and asks where it is in doubt.
func (c *Client) inspect() {
	c.inspectConnection()
	owed := c.gate.owed()
	for _, l := range c.lines() {
		c.inspectLine(l, owed)
	}
	if c.wire.out.idle() >= c.o.KeepAlive {
		c.wire.keepAlive()
	}
}

func (c *Client) inspectConnection() {
	silence := c.wire.silence()
	if silence > idleTimeout {
		c.fail(&Error{Op: "connection", Class: ClassNetwork, Err: errors.New("the hub has said nothing for " + silence.Round(time.Second).String())})
		return
	}
	at := time.Now().Add(-silence)
	c.health(Connection, func(h *Health) {
		h.Phase, h.Proof, h.Deadline = Proven, at, at.Add(idleTimeout)
		if silence > idleTimeout*3/4 { // it was asked to say something every half of it
			h.Phase = Doubtful
		}
	})
}

// inspectLine judges one link.
func (c *Client) inspectLine(l *line, owed owed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.lost != nil {
		return
	}
	if l.part != Telemetry {
		owed.settlement, owed.credit, owed.window = 0, 0, 0
	}
	if why := c.overdue(owed); why != "" {
		c.giveUpLocked(l, why, owed.window > 0)
		return
	}
	now := time.Now()
	switch asked := now.Sub(l.asked); {
	case l.mute:
	case l.asked.IsZero():
		idle := now.Sub(l.heard)
		if idle >= c.o.KeepAlive || (idle > probeAnswer && owed.longest() > probeAnswer) {
			c.probeLocked(l, now)
		}
	case asked < probeAnswer || c.wire.silence() >= asked: // if nothing at all came since, it is the connection that is in doubt
		if asked > probeAnswer/2 {
			c.healthLocked(l.part, func(h *Health) { h.Phase, h.Deadline = Doubtful, l.asked.Add(probeAnswer) })
		}
	case l.answered || l.strikes == 0:
		c.giveUpLocked(l, "the hub did not answer for the link", false)
	default:
		// It answered for a new link and never answers a probe: such hubs there may be.
		l.mute = true
		c.o.Logger.Warn("hub answers no probes; a dead link is only noticed by what it owes", "link", l.part.String())
		c.aliveLocked(l)
	}
}

// overdue says what the hub has owed for too long, "" when nothing.
func (c *Client) overdue(o owed) string {
	switch limit := c.o.SettleTimeout; {
	case o.settlement > limit:
		return "the hub did not settle a message in time"
	case o.credit > limit:
		return "the hub gives no credit"
	case o.window > limit:
		return "the hub's session takes no more transfers"
	}
	return ""
}

func (c *Client) probeLocked(l *line, now time.Time) {
	l.asked = now
	name := l.name
	c.wg.Go(func() { c.wire.probe(name) }) // not under our mutex, which wire may wait for
}

// giveUpLocked loses a link that is dead without the peer's saying so: it alone the first time, with its session the second time, and the whole
// connection the third time without a sign of life between.
func (c *Client) giveUpLocked(l *line, what string, session bool) {
	now := time.Now()
	if now.Sub(l.struck) > forgiven {
		l.strikes = 0
	}
	l.strikes++
	l.struck = now
	why := &Error{Op: l.part.String() + " link", Class: ClassNetwork, Err: errors.New(what)}
	if l.strikes > 2 {
		c.fail(why)
		return
	}
	c.sessionDead = c.sessionDead || session || l.strikes > 1
	c.loseLocked(l, why)
}

// mend makes anew what is lost.
func (c *Client) mend() {
	c.mendTokenLink()
	for _, l := range c.lines() {
		c.mu.Lock()
		why, due := l.lost, l.due
		c.mu.Unlock()
		if why == nil || c.ctx.Err() != nil || time.Now().Before(due) {
			continue
		}
		if !c.mayReturn(l, why) {
			return
		}
		if err := c.reattach(l); err != nil {
			c.notMended(l, failure("attach "+l.part.String(), err))
			continue
		}
		c.o.Logger.Debug("link restored", "link", l.part.String())
	}
}

// mayReturn says whether a link that was lost for this reason is to be asked for again on this connection; otherwise the client has ended.
func (c *Client) mayReturn(l *line, why *Error) bool {
	c.mu.Lock()
	back, fresh := l.back, l.fresh
	l.fresh = l.fresh || !back
	c.mu.Unlock()
	switch {
	case back:
		return true
	case why.Class == ClassAuth && c.o.Auth == AuthSAS && !fresh: // the hub may only want a new token
		if c.RenewToken(c.ctx) == nil {
			return true
		}
	}
	c.fail(why)
	return false
}

// passing reports whether a link that was lost for a reason of this class may be had again on the same connection.
func passing(class Class) bool {
	switch class {
	case ClassNetwork, ClassServer, ClassThrottled, ClassQuota, ClassUnknown, ClassMessage:
		return true
	case ClassAuth, ClassClock, ClassDisabled, ClassDisplaced, ClassRedirect, ClassProtocol:
	}
	return false
}

// reattach makes a link anew, and its session first where that is gone.
func (c *Client) reattach(l *line) error {
	c.health(l.part, func(h *Health) { h.Phase, h.Next = Opening, time.Time{} })
	<-l.closed // at most detachTimeout
	if err := c.renewSession(); err != nil {
		c.fail(err) // no session, no connection
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, attachTimeout)
	defer cancel()
	return c.attach(ctx, l)
}

// renewSession makes the session anew where it is dead or gone.
func (c *Client) renewSession() *Error {
	c.mu.Lock()
	old, gone, dead := c.session, c.sessionGone, c.sessionDead
	if dead && !gone { // the other link goes with it
		for _, l := range c.lines() {
			if l.lost == nil {
				c.loseLocked(l, &Error{Op: l.part.String() + " link", Class: ClassNetwork, Err: errors.New("given up with its session")})
			}
		}
	}
	c.mu.Unlock()
	if !gone && !dead {
		return nil
	}
	if !gone {
		ctx, cancel := context.WithTimeout(c.ctx, detachTimeout)
		_ = old.Close(ctx) // what the peer does not confirm has a new one beside it
		cancel()
	}
	ctx, cancel := context.WithTimeout(c.ctx, attachTimeout)
	defer cancel()
	if err := c.begin(ctx); err != nil {
		return failure("begin", err)
	}
	return nil
}

// notMended waits for the next try, takes the session along where the hub does not answer for the link, and gives the connection up in the end.
func (c *Client) notMended(l *line, e *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	unanswered := errors.Is(e, context.DeadlineExceeded)
	if l.tries.Failures() >= maxTries || (unanswered && l.strikes > 1) {
		c.fail(e)
		return
	}
	if unanswered {
		l.strikes, l.struck = max(l.strikes, 1)+1, time.Now()
		c.sessionDead = true
	}
	l.lost, l.back, l.due = e, passing(e.Class), time.Now().Add(l.tries.Next())
	c.healthLocked(l.part, func(h *Health) { h.Phase, h.Cause, h.Deadline, h.Next = Down, e, time.Time{}, l.due })
}

// mendTokenLink has a token put anew when the links to $cbs were lost, which opens them: nobody knows what became of the last request.
func (c *Client) mendTokenLink() {
	c.mu.Lock()
	due, why := c.cbsDue, c.cbsLost
	c.cbsDue = false
	c.mu.Unlock()
	if !due {
		return
	}
	c.o.Logger.Debug("token link lost", "error", why)
	c.wg.Go(func() { _ = c.RenewToken(c.ctx) }) // which says what happens, and tries again
}
