package iothub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"iotagent/internal/backoff"
	"iotagent/internal/clock"
	"iotagent/iothub/sas"
)

// token is one shared access signature and the times it lives by.
type token struct {
	text    string // secret
	expires time.Time
	minted  time.Time     // monotonic
	life    time.Duration // from minted to expires
}

// mint makes a token, or takes the one that was given. It makes none while the clock is obviously wrong.
func (c *Client) mint() (*token, error) {
	now := c.o.Now()
	if !clock.Plausible(now) {
		return nil, &Error{
			Op: "token", Class: ClassClock, Err: fmt.Errorf("this machine's clock says %s, which cannot be", now.UTC().Format(time.RFC3339)),
			Hint: "wait for the time service or set the clock: tokens are made by it",
		}
	}
	t := &token{text: c.o.Token, minted: time.Now()}
	if t.text == "" {
		t.expires = now.Add(c.o.TokenTTL)
		t.text = c.o.Key.Token(c.resource(), t.expires, "")
	} else {
		parsed, err := sas.ParseToken(t.text)
		if err != nil {
			return nil, &Error{Op: "token", Class: ClassAuth, Err: err}
		}
		t.expires = parsed.Expires
	}
	if t.life = t.expires.Sub(now); t.life <= 0 {
		return nil, &Error{
			Op: "token", Class: ClassAuth, Err: fmt.Errorf("the token that was given ended at %s", t.expires.UTC().Format(time.RFC3339)),
			Hint: "make a new one, or give the key instead; if it should still be valid, this machine's clock is wrong: " + now.UTC().Format(time.RFC3339),
		}
	}
	return t, nil
}

// renewAfter is when to renew: at 80 % of the token's life or 5 minutes before its end, whichever is earlier, a little less so that many devices
// that started together do not renew together.
func (t *token) renewAfter() time.Duration {
	d := min(t.life*8/10, t.life-min(5*time.Minute, t.life/2))
	return d - rand.N(d/10+1) //nolint:gosec // only to spread the load
}

// reserve is how long before its end a token is given up.
func (t *token) reserve() time.Duration { return min(2*time.Minute, t.life/10) }

// accepted takes note that the hub has the token.
func (c *Client) accepted(t *token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = t
	c.status.TokenExpires = t.expires
}

// left returns how long the present token still lives, by the monotonic clock or by the wall clock, whichever is less: the one stands still
// in suspend, the other jumps.
func (c *Client) left() time.Duration {
	c.mu.Lock()
	t := c.token
	c.mu.Unlock()
	return min(t.life-time.Since(t.minted), t.expires.Sub(c.o.Now()))
}

// renewal keeps the connection's token fresh, or ends the connection before the token does.
func (c *Client) renewal() {
	for c.ctx.Err() == nil {
		t := c.token // written by this goroutine only, once it runs
		at := t.life - t.renewAfter()
		given := c.o.Token != ""
		if given {
			at = t.reserve()
		}
		if !c.sleepUntil(at) {
			return
		}
		switch {
		case given:
			c.retire(&Error{Op: "token", Class: ClassAuth, Err: errors.New("the token that was given is about to end"), Hint: "make a new one, or give the key instead"})
		case c.o.Auth == AuthSASPlain:
			c.retire(&Error{Op: "token", Class: ClassAuth, Err: errors.New("token renewal by reconnect"), Hint: "SASL PLAIN binds the token to the connection; dial again"})
		default:
			c.renew(t)
		}
	}
}

// sleepUntil sleeps until no more than d is left of the token's life; false when the client ended first.
func (c *Client) sleepUntil(d time.Duration) bool {
	for {
		wait := c.left() - d
		if wait <= 0 {
			return true
		}
		if backoff.Sleep(c.ctx, min(wait, time.Minute)) != nil { // a minute at most, to notice that the clock was set
			return false
		}
	}
}

// renew puts a new token. A request that fails is repeated while the old token lives, a refused one first at once, with
// a token minted anew, and then seldom. Just before the old token ends so does the client.
func (c *Client) renew(old *token) {
	tries := backoff.Backoff{Floor: min(5*time.Second, old.life/50+1), Cap: 20 * time.Second}
	refused := false
	for {
		t, err := c.mint()
		if err == nil {
			err = c.putToken(c.ctx, t)
		}
		if err == nil {
			c.o.Logger.Info("token renewed", "expires", t.expires)
			return
		}
		e := failure("put-token", err)
		if c.ctx.Err() != nil {
			return
		}
		c.o.Logger.Warn("token not renewed", "error", e, "left", c.left())
		wait := tries.Next()
		if e.Class == ClassAuth || e.Class == ClassDisabled {
			if !refused {
				refused = true
				continue
			}
			wait = max(wait, (c.left()-old.reserve())/2) // nothing suggests that the next will do better, but the old one still does
		}
		if c.left()-wait <= old.reserve() {
			c.sleepUntil(old.reserve())
			c.retire(e)
			return
		}
		if backoff.Sleep(c.ctx, wait) != nil {
			return
		}
	}
}

// refusedToken explains a token that the hub did not take although it was made just now.
func (c *Client) refusedToken(status int, description string, t *token) *Error {
	condition := fmt.Sprintf("status %d", status)
	e := &Error{Op: "put-token", Class: ClassAuth, Condition: condition, Description: description}
	code := errorCode(description)
	if code == 0 {
		code = status * 1000
	}
	if class, ok := classOfCode(code); ok {
		e.Class = class
	} else if status == 403 {
		e.Class = ClassThrottled // too many tokens on the connection
	}
	if e.Class == ClassDisabled {
		e.Hint = "the device or the hub is disabled: enable it in the portal"
	}
	if e.Class != ClassAuth {
		return e
	}
	now := c.o.Now().UTC().Format(time.RFC3339)
	switch text := strings.ToLower(description); {
	case strings.Contains(text, "expired"):
		e.Hint = fmt.Sprintf("this machine's clock is behind: it says %s, and the hub took a token that ends at %s for an old one", now, t.expires.UTC().Format(time.RFC3339))
	case strings.Contains(text, "not registered"), status == 404:
		e.Hint = "the hub does not know this device: compare DeviceId with the portal"
	default:
		e.Hint = "clock or key: compare the key with the one in the portal, and the time with this machine's, " + now
	}
	return e
}

// retire lets what is in flight finish, then ends the client.
func (c *Client) retire(why *Error) {
	c.gate.close(why)
	ctx, cancel := context.WithTimeout(c.ctx, max(min(30*time.Second, c.left()), time.Second))
	defer cancel()
	_ = c.gate.drained(ctx, c.Done()) // what does not finish is sent again on the next connection
	c.fail(why)
}
