package agent

import (
	"strings"
	"time"

	"iotagent/internal/clock"
	"iotagent/iothub"
)

// LinkStatus is what the link is doing. Times are the wall clock's, in UTC.
type LinkStatus struct {
	// State is "offline", "connecting", "waiting", "degraded" (connected, but Parts tells what is not proven) or "online": all four are proven.
	State string `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since"`
	// Host is what was dialled, after redirects; Via is the way there: "amqps", "websocket", … Both are set while connected.
	Host string `json:"host,omitempty"`
	Via  string `json:"via,omitempty"`
	// KeyInUse is "primary" or "secondary" while connected with a key.
	KeyInUse string `json:"key_in_use,omitempty"`
	// TokenExpires is set while connected with a token.
	TokenExpires *time.Time `json:"token_expires,omitempty"`
	// Error, Class and Hint tell of the last failure; empty while online.
	Error string `json:"error,omitempty"`
	Class string `json:"class,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// NextAttempt is when what is wrong is tried again, where that is planned.
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
	// PausedUntil is set while the hub asked for fewer messages.
	PausedUntil *time.Time `json:"paused_until,omitempty"`
	// Parts are the connection, the token, the telemetry link and the command link, in this order; none of a daemon that does not run.
	Parts []PartStatus `json:"parts,omitempty"`
	// Connects and Losses count since the start.
	Connects uint64 `json:"connects"`
	Losses   uint64 `json:"losses"`
	// Displaced counts how often another client took this device's identity since the start, DisplacedAt is when it did so last.
	Displaced   uint64     `json:"displaced,omitempty"`
	DisplacedAt *time.Time `json:"displaced_at,omitempty"`
	// Sent counts telemetry messages that the hub accepted; Resent those it gave back or whose fate was lost.
	Sent   uint64 `json:"sent"`
	Resent uint64 `json:"resent"`
	Dead   uint64 `json:"dead"`
	// Uplink is how telemetry is sent.
	Uplink UplinkStatus `json:"uplink"`
	// ReadBytes and WrittenBytes went over the wire since the start, inside of TLS.
	ReadBytes    uint64 `json:"read_bytes"`
	WrittenBytes uint64 `json:"written_bytes"`
}

// PartStatus is one of the four parts of the link.
type PartStatus struct {
	// Part is "connection", "token", "telemetry" or "command".
	Part string `json:"part"`
	// Phase is "down", "opening", "proven", "doubtful" (its proof is late) or "unused".
	Phase string `json:"phase"`
	// Since is when it came to be proven or, when it is not, when it stopped being so, however often it was tried since.
	Since time.Time `json:"since"`
	// Proof is when it was last proven, Deadline by when it must be proven again.
	Proof    *time.Time `json:"proof,omitempty"`
	Deadline *time.Time `json:"deadline,omitempty"`
	// Cause and Class say why it is not proven or, when it is, why it was lost last. Hint is set only when it is not proven.
	Cause string `json:"cause,omitempty"`
	Class string `json:"class,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// NextAttempt is when it is tried again, where that is planned.
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
	// Losses counts since the start.
	Losses uint64 `json:"losses"`
}

// Fine reports whether the part is proven or not needed.
func (p *PartStatus) Fine() bool {
	return p.Phase == string(iothub.Proven) || p.Phase == string(iothub.Unused)
}

// Title is the part's name in a sentence: "command link".
func (p *PartStatus) Title() string {
	switch p.Part {
	case iothub.Telemetry.String(), iothub.Command.String():
		return p.Part + " link"
	}
	return p.Part
}

// Trouble returns the first part that is not proven, nil when there is none.
func (s *LinkStatus) Trouble() *PartStatus {
	for i := range s.Parts {
		if p := &s.Parts[i]; !p.Fine() {
			return p
		}
	}
	return nil
}

// past is what the link remembers of a part beyond one connection.
type past struct {
	// down is when it stopped being proven; zero while it is.
	down   time.Time
	proof  time.Time
	losses uint64
	cause  error
}

// observeLocked takes note of which parts are proven.
func (l *link) observeLocked(s *iothub.Status) {
	for i := range s.Parts {
		h, p := &s.Parts[i], &l.past[i]
		switch {
		case h.Fine():
			p.down = time.Time{}
		case p.down.IsZero():
			p.down = h.Since
			if p.down.IsZero() {
				p.down = time.Now()
			}
		}
	}
}

// snapshot returns the present status.
func (l *link) snapshot() LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Uplink = l.up.snapshot()
	if l.client == nil {
		l.apartLocked(&s)
	} else {
		s.PausedUntil = s.Uplink.PausedUntil
		l.togetherLocked(&s)
	}
	s.onWall(l.clock.Stamp())
	return s
}

// apartLocked completes the status of a link without a connection.
func (l *link) apartLocked(s *LinkStatus) {
	for i := range iothub.Part(iothub.Parts) {
		was := &l.past[i]
		p := PartStatus{Part: i.String(), Phase: string(iothub.Down), Since: was.down, Proof: moment(was.proof), Losses: was.losses}
		if i == iothub.Connection {
			p.Losses, p.Cause, p.Class, p.Hint, p.NextAttempt = s.Losses, s.Error, s.Class, s.Hint, s.NextAttempt
			if s.State == "connecting" {
				p.Phase = string(iothub.Opening)
			}
		}
		s.Parts = append(s.Parts, p)
	}
}

// togetherLocked completes the status of a link with a connection.
func (l *link) togetherLocked(s *LinkStatus) {
	c := l.health(l.client)
	l.observeLocked(&c)
	s.Host, s.Via, s.KeyInUse, s.TokenExpires = c.Host, c.Via, c.KeyInUse, moment(c.TokenExpires)
	s.ReadBytes += c.BytesRead
	s.WrittenBytes += c.BytesWritten
	s.State = "online"
	for i := range c.Parts {
		p := l.partLocked(iothub.Part(i), &c.Parts[i])
		s.Parts = append(s.Parts, p)
		if p.Fine() && s.State == "online" && p.Since.After(s.Since) {
			s.Since = p.Since
		}
		if !p.Fine() && s.State == "online" {
			s.State, s.Since = "degraded", p.Since
			s.Error, s.Class, s.Hint, s.NextAttempt = p.Cause, p.Class, p.Hint, p.NextAttempt
			if !strings.HasPrefix(s.Error, p.Title()) {
				s.Error = p.Title() + ": " + s.Error
			}
		}
	}
}

func (l *link) partLocked(i iothub.Part, h *iothub.Health) PartStatus {
	was := &l.past[i]
	p := PartStatus{
		Part: i.String(), Phase: string(h.Phase), Since: h.Since, Proof: moment(h.Proof), Deadline: moment(h.Deadline),
		NextAttempt: moment(h.Next), Losses: was.losses + h.Losses,
	}
	if h.Proof.IsZero() {
		p.Proof = moment(was.proof)
	}
	if i == iothub.Connection {
		p.Losses = l.status.Losses
	}
	if !was.down.IsZero() {
		p.Since = was.down
	}
	cause := was.cause
	if h.Cause != nil {
		cause = h.Cause
	}
	switch {
	case h.Phase == iothub.Doubtful && i != iothub.Token: // nothing has failed yet; what is known is why it was lost last
		p.Cause, p.Class = "silent; asked for a sign of life", string(iothub.ClassNetwork)
	case cause == nil && !h.Fine():
		p.Cause = "not proven yet"
	case cause != nil:
		p.Cause, p.Class = cause.Error(), string(classOf(cause))
		if !h.Fine() {
			p.Hint = Hint(cause)
		}
	}
	return p
}

// moment returns nil for no time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// onWall turns the times, which are those of the process's own clock, into the wall clock's of now. One from before the wall clock was set is moved by as much as that was.
func (s *LinkStatus) onWall(now clock.Stamp) {
	mine := time.Now()
	at := func(t time.Time) time.Time {
		if t.IsZero() || clock.Plausible(t) {
			return t.UTC()
		}
		return now.Wall.Add(t.Sub(mine)).Round(time.Millisecond)
	}
	move := func(p **time.Time) {
		if *p != nil {
			t := at(**p)
			*p = &t
		}
	}
	s.Since = at(s.Since)
	for _, p := range []**time.Time{&s.NextAttempt, &s.PausedUntil, &s.DisplacedAt, &s.Uplink.PausedUntil} {
		move(p)
	}
	for i := range s.Parts {
		p := &s.Parts[i]
		p.Since = at(p.Since)
		for _, p := range []**time.Time{&p.Proof, &p.Deadline, &p.NextAttempt} {
			move(p)
		}
	}
	if t := s.TokenExpires; t != nil { // the wall clock's already
		utc := t.UTC()
		s.TokenExpires = &utc
	}
}
