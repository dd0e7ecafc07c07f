// Package backoff spaces out attempts at something that fails: exponential, with full jitter, capped.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is the state of one series of attempts. Floor and Cap must be positive and Floor ≤ Cap.
// It is not safe for concurrent use.
type Backoff struct {
	// Floor is the least wait; the first one lies between Floor and 2 × Floor.
	Floor time.Duration
	// Cap is the longest wait.
	Cap time.Duration

	failures int
}

// Next returns how long to wait after one more failure: uniform between Floor and min(Cap, Floor × 2ⁿ), so that
// many devices that lost the same hub do not come back together.
func (b *Backoff) Next() time.Duration {
	b.failures++
	top := b.Cap
	if shift := b.failures; shift < 63 && b.Floor < b.Cap>>shift {
		top = b.Floor << shift
	}
	return b.Floor + rand.N(max(top-b.Floor, 0)+1) //nolint:gosec // jitter needs no secrecy
}

// Failures returns how many times Next was called since the start or the last Reset.
func (b *Backoff) Failures() int { return b.failures }

// Reset starts the series again. Call it only after the thing has been stable for a while, not at its first success.
func (b *Backoff) Reset() { b.failures = 0 }

// Sleep waits for d or until ctx is done, in which case it returns the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
