package iothub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"iotagent/internal/backoff"
	"iotagent/internal/clock"
	"iotagent/iothub/sas"
)

// token is one shared access signature and the times it lives by.
type token struct {
	text    string // secret
	key     int    // which of the keyring's made it
	expires time.Time
	minted  time.Time     // monotonic
	life    time.Duration // from minted to expires
}

// mint makes a token with the nth key, or takes the one that was given. It makes none while the clock is obviously wrong.
func (c *Client) mint(n int) (*token, error) {
	now := c.o.Now()
	if !clock.Plausible(now) {
		return nil, &Error{
			Op: "token", Class: ClassClock, Err: fmt.Errorf("this machine's clock says %s, which cannot be", now.UTC().Format(time.RFC3339)),
			Hint: "wait for the time service or set the clock: tokens are made by it",
		}
	}
	t := &token{text: c.o.Token, key: n, minted: time.Now()}
	if t.text == "" {
		t.expires = now.Add(c.o.TokenTTL)
		t.text = c.keys.keys[n].Token(c.resource(), t.expires, "")
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
	c.keys.use(t.key)
	c.mu.Lock()
	c.token = t
	c.status.TokenExpires, c.status.KeyInUse = t.expires, c.keys.name(t.key)
	c.mu.Unlock()
	c.proven(Token, time.Now().Add(c.left()-t.reserve()))
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
		asker, ok := c.sleepUntil(at)
		switch {
		case !ok:
			return
		case given:
			c.retire(&Error{Op: "token", Class: ClassAuth, Err: errors.New("the token that was given is about to end"), Hint: "make a new one, or give the key instead"})
		case c.o.Auth == AuthSASPlain:
			c.retire(&Error{
				Op: "token", Class: ClassNetwork, Err: errors.New("a new token needs a new connection"),
				Hint: "nothing is wrong: SASL PLAIN binds the token to the connection, which is made anew before the token ends",
			})
		default:
			c.renew(t, asker)
		}
	}
}

// sleepUntil sleeps until no more than d is left of the token's life, or until somebody asks for a new one; false when the client ended first.
func (c *Client) sleepUntil(d time.Duration) (asker chan<- error, ok bool) {
	for {
		wait := c.left() - d
		if wait <= 0 {
			return nil, true
		}
		again := time.NewTimer(min(wait, time.Minute)) // a minute at most, to notice that the clock was set
		select {
		case <-c.ctx.Done():
			again.Stop()
			return nil, false
		case asker = <-c.renewNow:
			again.Stop()
			return asker, true
		case <-again.C:
		}
	}
}

// RenewToken has a new token put on the living connection at once, and returns nil when the hub took it. Where that cannot be (SASL PLAIN, a token that
// was given, a certificate) it returns an error and changes nothing.
func (c *Client) RenewToken(ctx context.Context) error {
	if c.o.Auth != AuthSAS || c.o.Token != "" {
		return &Error{Op: "token", Class: ClassAuth, Err: errors.New("not one that could be renewed on the living connection")}
	}
	answer := make(chan error, 1)
	select {
	case c.renewNow <- answer:
	case <-c.Done():
		return c.cause("token")
	case <-ctx.Done():
		return failure("token", context.Cause(ctx))
	}
	select {
	case err := <-answer:
		return err
	case <-c.Done():
		return c.cause("token")
	case <-ctx.Done():
		return failure("token", context.Cause(ctx))
	}
}

// renew puts a new token. A request that fails is repeated while the old token lives; when it is refused that is seldom, because nothing suggests
// that the next will do better. Just before the old token ends so does the client. Whoever asked for it hears of the first try.
func (c *Client) renew(old *token, asker chan<- error) {
	tries := backoff.Backoff{Floor: min(5*time.Second, old.life/50+1), Cap: 20 * time.Second}
	e := c.identify(c.ctx)
	for n := c.keys.inUse(); ; {
		wait := tries.Next()
		if e.refusal() {
			wait = max(wait, (c.left()-old.reserve())/2)
			if other, ok := c.keys.other(n); ok {
				n = other
			}
		}
		if e != nil {
			c.health(Token, func(h *Health) { h.Phase, h.Cause, h.Next = Doubtful, e, time.Now().Add(wait) })
		}
		if asker != nil {
			asker <- asError(e)
		}
		if e == nil {
			c.o.Logger.Info("token renewed", "expires", c.token.expires)
			return
		}
		if c.ctx.Err() != nil {
			return
		}
		until := max(c.left()-wait, old.reserve())
		c.o.Logger.Warn("token not renewed", "error", e, "left", c.left())
		var ok bool
		if asker, ok = c.sleepUntil(until); !ok {
			return
		}
		switch {
		case asker != nil:
			e = c.identify(c.ctx)
		case until == old.reserve():
			c.retire(c.o.explain(c.ctx, e))
			return
		default:
			e = c.put(c.ctx, n)
		}
	}
}

// identify puts a token made with the key that the hub took last. One that is refused is followed by one minted anew, for the clock may have been
// set meanwhile, and that by one of the other key.
func (c *Client) identify(ctx context.Context) *Error {
	n := c.keys.inUse()
	first := c.put(ctx, n)
	if !first.keyRefused() || c.o.Token != "" {
		return first
	}
	again := c.put(ctx, n)
	if !again.keyRefused() {
		if again != nil && again.Class == ClassNetwork {
			return first // the hub hung up; it had said why before
		}
		return again
	}
	other, ok := c.keys.other(n)
	if !ok {
		return again
	}
	last := c.put(ctx, other)
	switch {
	case last == nil:
		c.o.Logger.Warn("key refused, the other one taken", "refused", c.keys.name(n), "taken", c.keys.name(other), "error", again)
	case last.keyRefused():
		return bothRefused(c.keys.name(n), again, last)
	case last.Class == ClassNetwork:
		return again
	}
	return last
}

// put mints a token with the nth key and puts it.
func (c *Client) put(ctx context.Context, n int) *Error {
	t, err := c.mint(n)
	if err == nil {
		err = c.putToken(ctx, t)
	}
	if err == nil {
		return nil
	}
	return failure("put-token", err)
}

// asError avoids a nil pointer in an interface.
func asError(e *Error) error {
	if e == nil {
		return nil
	}
	return e
}

// retire lets what is in flight finish, then ends the client.
func (c *Client) retire(why *Error) {
	c.gate.close(why)
	c.health(Token, func(h *Health) { h.Phase, h.Cause, h.Deadline, h.Next = Down, why, time.Time{}, time.Time{} })
	ctx, cancel := context.WithTimeout(c.ctx, max(min(30*time.Second, c.left()), time.Second))
	defer cancel()
	_ = c.gate.drained(ctx, c.Done()) // what does not finish is sent again on the next connection
	c.fail(why)
}
