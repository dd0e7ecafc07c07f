package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"iotagent/iothub"
)

const (
	// watchEvery is how often the parts of a connection are looked at.
	watchEvery = time.Second
	// degradedLimit is how long a client may try to mend one of its parts before it is closed and the hub dialled anew.
	degradedLimit = 10 * time.Minute
	// tellEvery is how often the service manager is told the length of the queue while nothing else changes.
	tellEvery = 30 * time.Second
	// complainEvery is how often the same trouble is said again: an outage of a month must not fill the journal, which lies on flash too.
	complainEvery = time.Hour
)

// said is what log and service manager were told last.
type said struct {
	mu sync.Mutex
	// trouble is why the hub was not reached, said at.
	trouble string
	at      time.Time
	// online is whether the link was; since when it was not, if it was not.
	online bool
	since  time.Time
	// parts are as they were on the present connection.
	client *iothub.Client
	parts  [iothub.Parts]saidPart
	// line is the service manager's, without the length of the queue, told at.
	line   string
	queued uint64
	told   time.Time
}

type saidPart struct {
	lost   bool
	since  time.Time
	losses uint64
}

// watch looks at the link every second, until ctx is done.
func (l *link) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.report()
			l.nurse()
		}
	}
}

// report tells log and service manager what has changed.
func (l *link) report() {
	l.said.mu.Lock()
	defer l.said.mu.Unlock()
	l.mu.Lock()
	client, goodbye := l.client, l.status.State == "offline"
	var now iothub.Status
	if client != nil {
		now = l.health(client)
	}
	l.mu.Unlock()
	if client != nil {
		l.said.link(l.log, now.Online())
		l.said.health(l.log, client, &now)
	} else if !goodbye {
		l.said.link(l.log, false)
	}
	l.tellIfNew()
}

// link logs that all parts are proven now, when they were not.
func (s *said) link(log *slog.Logger, online bool) {
	switch {
	case online && !s.online:
		s.trouble = ""
		log.Info("online", "after", time.Since(s.since).Round(time.Millisecond).String())
	case !online && s.online:
		s.since = time.Now()
	}
	s.online = online
}

// health logs each part that was lost or is proven again, once.
func (s *said) health(log *slog.Logger, c *iothub.Client, now *iothub.Status) {
	if c != s.client {
		s.client, s.parts = c, [iothub.Parts]saidPart{}
	}
	for i := range now.Parts {
		h, p := &now.Parts[i], &s.parts[i]
		part := PartStatus{Part: iothub.Part(i).String()}
		gone := h.Phase == iothub.Down || h.Phase == iothub.Opening
		if h.Cause != nil && !p.lost && (gone || h.Losses > p.losses) {
			p.lost, p.since = true, h.Since
			log.Warn("a part of the link lost", "part", part.Title(), "error", h.Cause, "class", string(h.Cause.Class), "hint", Hint(h.Cause))
		}
		if p.lost && h.Fine() {
			p.lost = false
			log.Info("a part of the link proven again", "part", part.Title(), "after", max(h.Since.Sub(p.since), 0).Round(time.Millisecond).String())
		}
		p.losses = h.Losses
	}
}

// complain logs why the hub is not reached when it is another reason than before, and now and then when it is not.
func (s *said) complain(log *slog.Logger, err error, retry time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := retry.Round(time.Millisecond).String()
	if text := err.Error(); text != s.trouble || time.Since(s.at) >= complainEvery {
		s.trouble, s.at = text, time.Now()
		log.Warn("hub not reached", "error", err, "class", string(classOf(err)), "hint", Hint(err), "retry_in", in)
		return
	}
	log.Debug("hub not reached", "error", err, "retry_in", in)
}

// tellIfNew shows the service manager another line when the link is another than at the last one, or the queue is and that is a while ago.
func (l *link) tellIfNew() {
	s := l.snapshot()
	line := s.line(time.Local)
	if line == "" || line == l.said.line && time.Since(l.said.told) < tellEvery {
		return
	}
	n := queued(l.queue)
	if line == l.said.line && n == l.said.queued {
		return
	}
	l.said.line, l.said.queued, l.said.told = line, n, time.Now()
	l.tell(fmt.Sprintf("%s; %d queued", line, n))
}

// line says in one line how the link is, "" when it is ended.
func (s *LinkStatus) line(zone *time.Location) string {
	if s.State == "offline" {
		return ""
	}
	if s.State == "online" {
		return s.onlineLine()
	}
	var b strings.Builder
	b.WriteString("connecting to the hub")
	if p := s.Trouble(); p != nil && (s.State != "connecting" || s.Error != "") {
		b.Reset()
		fmt.Fprintf(&b, "%s %s", p.Title(), p.Phase)
		switch {
		case p.Class == string(iothub.ClassDisplaced):
			b.WriteString(": another client connects as this device")
		case p.Cause != "":
			b.WriteString(": " + oneLine(p.Cause))
		}
	}
	if s.NextAttempt != nil {
		b.WriteString("; next attempt " + s.NextAttempt.In(zone).Format(time.TimeOnly))
	}
	return b.String()
}

func (s *LinkStatus) onlineLine() string {
	line := "online"
	if s.Via != "" {
		line += " via " + s.Via
	}
	if s.PausedUntil != nil && s.Uplink.Pause == string(iothub.ClassQuota) {
		line += ", the hub's daily quota is used up"
	}
	return line
}

// oneLine keeps the hub's words from making a second line, or a very long one.
func oneLine(s string) string { return clip(strings.Join(strings.Fields(s), " "), maxReason) }

// nurse keeps the watchdog patient while the client mends itself, and ends one that does not succeed.
func (l *link) nurse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == nil {
		return
	}
	s := l.health(l.client)
	l.observeLocked(&s)
	if !s.Parts[iothub.Telemetry].Fine() {
		l.pulse.within("link", sendPromise) // Send waits for the new link
	}
	for i := range s.Parts {
		if down := l.past[i].down; !down.IsZero() && time.Since(down) > degradedLimit {
			l.giveUp(notMended(iothub.Part(i), s.Parts[i].Cause))
			return
		}
	}
}

// notMended is the end of a client that could not help itself.
func notMended(p iothub.Part, cause *iothub.Error) *iothub.Error {
	part := PartStatus{Part: p.String()}
	e := &iothub.Error{Op: part.Title(), Class: iothub.ClassNetwork, Err: fmt.Errorf("not proven for %v", degradedLimit)}
	if cause != nil {
		e.Class, e.Hint = cause.Class, cause.Hint
		e.Err = fmt.Errorf("not proven for %v: %w", degradedLimit, cause)
	}
	return e
}
