// Package patience decides how long an agent stays away from its hub after an error: long enough not to hammer it, beside ten thousand others that lost
// it in the same second, and never so long that a person would rather restart the agent.
//
// Each class of error has a series of waits of its own, drawn uniformly between a floor and an upper bound that doubles from wait to wait up to a cap
// (full jitter). A connection that held for a minute ends all series but that of a displaced one. Nothing is fatal for ever: a disabled device may be
// enabled again, so it is tried slowly.
//
//	class                        floor   first up to   cap      because
//	network, server: it worked   0.1 s   3 s           3 s      a working connection that is lost is healed within 5 s; the hub had admitted it
//	network, server              0.5 s   3 s           30 s     a hub that returns has everybody's first attempt within 30 s
//	server with code 400029      0 s     1 s, once     -        an upgrade: the hub wants it at once, and refuses haste after that (400030)
//	redirect                     0 s     0 s, once     -        followed at once, then as protocol
//	protocol, message, unknown   2 s     4 s           1 min    retrying seldom helps, waiting may
//	auth: it worked              0.1 s   3 s, once     -        the token's end, or a whim of the hub's: a new connection brings a new token
//	auth, clock                  5 s     10 s          2 min    a person mends it and wants to see it work
//	throttled                    10 s    1 min         1 min    spread over the minute from the first refusal on: doubling would come in waves
//	disabled                     20 s    40 s          5 min    a person enables it
//	displaced                    30 s    2 min         5 min    another client with this identity: two that are eager would fight for ever
//	quota                        1 min   2 min         10 min   it begins anew once a day
package patience

import (
	"errors"
	"math/rand/v2"
	"time"

	"iotagent/internal/backoff"
	"iotagent/iothub"
)

const (
	// stableAfter is how long a connection must have held before its loss starts a new series of waits.
	stableAfter = time.Minute
	// peaceAfter is the same for a connection that was displaced: the other client may be waiting as long as we did.
	peaceAfter = 15 * time.Minute
	// codeUpgrade is the code of a connection that the hub closes for an upgrade of its own ("ConnectionForcefullyClosedOnFaultInjection").
	codeUpgrade = 400029
	// upgradeSpread keeps the devices of one gateway from coming back in the same instant.
	upgradeSpread = time.Second
)

// Rule returns a new series of waits for a class of error.
func Rule(class iothub.Class) backoff.Backoff {
	switch class {
	case iothub.ClassAuth, iothub.ClassClock:
		return backoff.Backoff{Floor: 5 * time.Second, Cap: 2 * time.Minute}
	case iothub.ClassDisabled:
		return backoff.Backoff{Floor: 20 * time.Second, Cap: 5 * time.Minute}
	case iothub.ClassDisplaced:
		return backoff.Backoff{Floor: 30 * time.Second, Start: 2 * time.Minute, Cap: 5 * time.Minute}
	case iothub.ClassThrottled:
		return backoff.Backoff{Floor: 10 * time.Second, Start: time.Minute, Cap: time.Minute}
	case iothub.ClassQuota:
		return backoff.Backoff{Floor: time.Minute, Cap: 10 * time.Minute}
	case iothub.ClassProtocol, iothub.ClassUnknown, iothub.ClassRedirect, iothub.ClassMessage:
		return backoff.Backoff{Floor: 2 * time.Second, Cap: time.Minute}
	case iothub.ClassNetwork, iothub.ClassServer:
	}
	return backoff.Backoff{Floor: 500 * time.Millisecond, Start: 3 * time.Second, Cap: 30 * time.Second}
}

// working is the rule for a connection that had carried messages, however often it is lost.
func working() backoff.Backoff {
	return backoff.Backoff{Floor: 100 * time.Millisecond, Start: 3 * time.Second, Cap: 3 * time.Second}
}

// Patience keeps the series of one agent. Use New. It is not safe for concurrent use.
type Patience struct {
	rand   *rand.Rand
	series map[iothub.Class]*backoff.Backoff
	lost   backoff.Backoff
	// upgraded, redirected and reminted say that the one wait that is shorter has been given.
	upgraded, redirected, reminted bool
}

// New returns the patience of an agent that has not failed yet. A simulation gives it a source of its own; nil means the process's.
func New(r *rand.Rand) *Patience {
	p := &Patience{rand: r, lost: working(), series: map[iothub.Class]*backoff.Backoff{}}
	p.lost.Rand = r
	return p
}

// Next returns how long to wait after err, which ended a connection that had lived that long (0: it never came to be) and had carried messages or not.
// What is no *iothub.Error counts as one of the network.
func (p *Patience) Next(err error, lived time.Duration, worked bool) time.Duration {
	p.calm(lived)
	class, code := iothub.ClassNetwork, 0
	if e, ok := errors.AsType[*iothub.Error](err); ok {
		class, code = e.Class, e.Code()
	}
	switch {
	case code == codeUpgrade && !p.upgraded:
		p.upgraded = true
		once := backoff.Backoff{Start: upgradeSpread, Cap: upgradeSpread, Rand: p.rand}
		return once.Next()
	case class == iothub.ClassRedirect && !p.redirected:
		p.redirected = true
		return 0
	case worked && code != codeUpgrade && (class == iothub.ClassNetwork || class == iothub.ClassServer):
		return p.lost.Next()
	case worked && class == iothub.ClassAuth && !p.reminted:
		p.reminted = true
		return p.lost.Next()
	}
	if p.series[class] == nil {
		b := Rule(class)
		b.Rand = p.rand
		p.series[class] = &b
	}
	return p.series[class].Next()
}

// calm ends the series that a connection which lived that long puts an end to.
func (p *Patience) calm(lived time.Duration) {
	if lived < stableAfter {
		return
	}
	displaced := p.series[iothub.ClassDisplaced]
	*p = *New(p.rand)
	if lived < peaceAfter && displaced != nil {
		p.series[iothub.ClassDisplaced] = displaced
	}
}
