package iothub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// maxRedirects bounds the redirects that one Dial follows in a row.
const maxRedirects = 3

// Dialer makes one connection of a device after the other, and remembers between them what outlives a connection: redirects that hold, and which key the
// hub takes. Use NewDialer. Its methods may be called from any goroutine, Dial by one at a time.
type Dialer struct {
	o    Options
	home place
	keys *keyring
	// at is where to begin: home, or where redirects led to.
	at place
	// last is the connection made last, which may have ended with a redirect.
	last *Client
}

// NewDialer returns a Dialer for these options, which it copies.
func NewDialer(o *Options) *Dialer {
	d := &Dialer{}
	if o != nil {
		d.o = *o
	}
	if d.o.Logger == nil {
		d.o.Logger = slog.New(slog.DiscardHandler)
	}
	d.home = home(&d.o)
	d.at, d.keys = d.home, newKeyring(&d.o)
	return d
}

// Dial connects, following redirects, at most three in a row, and the one that ended the connection before. Where a redirect led to is where the next
// Dial begins, until that place cannot be reached or refuses: then the device's own hub is asked at once. A key that the hub refuses is followed by the
// other one. See the function Dial for the rest of the contract; here a minute is the bound of each connection that is tried.
func (d *Dialer) Dial(ctx context.Context) (*Client, error) {
	c, err := d.dial(ctx)
	if err != nil {
		return nil, d.o.explain(ctx, failure("dial", err))
	}
	d.last = c
	return c, nil
}

func (d *Dialer) dial(ctx context.Context) (*Client, error) {
	at, seen := d.at, []place{}
	if e := d.redirected(); e != nil {
		var err error
		if at, err = d.follow(at, e, nil); err != nil {
			return nil, err
		}
	}
	for {
		c, err := d.tryKeys(ctx, at)
		if err == nil {
			d.at = at
			return c, nil
		}
		seen = append(seen, at)
		switch e := failure("dial", err); {
		case e.Redirect != nil:
			if at, err = d.follow(at, e, seen); err != nil {
				return nil, err
			}
		case at == d.home || !spoilt(e.Class):
			return nil, e
		case ctx.Err() != nil || slices.Contains(seen, d.home):
			d.at = d.home
			return nil, e
		default:
			d.o.Logger.Warn("redirect no longer holds", "place", at.String(), "error", e)
			d.at, at, seen = d.home, d.home, nil
		}
	}
}

// redirected returns the redirect that ended the connection made last, once.
func (d *Dialer) redirected() *Error {
	if d.last == nil {
		return nil
	}
	err := d.last.Err()
	d.last = nil
	if e, ok := errors.AsType[*Error](err); ok && e.Redirect != nil {
		return e
	}
	return nil
}

// follow returns where a redirect met at a place leads to, or why it is not followed; the next Dial then begins at home.
func (d *Dialer) follow(at place, e *Error, seen []place) (place, error) {
	to := at.towards(e.Redirect, partOf(e.Op))
	problem := ""
	switch {
	case slices.Contains(seen, to):
		problem = "the redirects lead in a circle"
	case len(seen) > maxRedirects:
		problem = fmt.Sprintf("more than %d redirects in a row", maxRedirects)
	}
	if problem == "" {
		d.o.Logger.Info("redirected", "from", at.String(), "to", to.String(), "by", e.Condition)
		return to, nil
	}
	d.at = d.home
	var way strings.Builder
	for _, p := range append(slices.Clone(seen), to) {
		if way.Len() > 0 {
			way.WriteString(" → ")
		}
		way.WriteString(p.String())
	}
	return place{}, &Error{
		Op: "dial", Class: ClassRedirect, Condition: e.Condition, Description: problem + ": " + way.String(),
		Hint: "the hub, or a gateway before it, is set up wrongly or in the midst of a move: it is asked again, and nothing is lost meanwhile",
	}
}

// tryKeys connects with the key that the hub took last and, where that is refused before both could be put on one connection, with the other.
func (d *Dialer) tryKeys(ctx context.Context, at place) (*Client, error) {
	n := d.keys.inUse()
	c, err := connect(ctx, &d.o, at, d.keys)
	if err == nil {
		return c, nil
	}
	first := failure("dial", err)
	other, ok := d.keys.other(n)
	if !ok || !first.keyRefused() || errors.Is(first, errBothKeys) || ctx.Err() != nil {
		return nil, first
	}
	d.keys.use(other)
	if c, err = connect(ctx, &d.o, at, d.keys); err == nil {
		return c, nil
	}
	second := failure("dial", err)
	if !second.keyRefused() || errors.Is(second, errBothKeys) {
		return nil, second
	}
	d.keys.use(n)
	return nil, bothRefused(d.keys.name(n), first, second)
}

// spoilt reports whether an error of this class means that a place which a redirect named is not, or no longer, what it was.
func spoilt(class Class) bool {
	switch class {
	case ClassThrottled, ClassQuota, ClassDisplaced, ClassClock: // it answered as a hub does; elsewhere would be no better
		return false
	case ClassNetwork, ClassAuth, ClassDisabled, ClassRedirect, ClassProtocol, ClassServer, ClassMessage, ClassUnknown:
	}
	return true
}

// partOf returns which link an operation ("attach telemetry", "command link") was about, Connection for neither.
func partOf(op string) Part {
	for _, p := range []Part{Telemetry, Command} {
		if strings.Contains(op, p.String()) {
			return p
		}
	}
	return Connection
}
