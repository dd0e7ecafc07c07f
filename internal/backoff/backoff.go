// Package backoff spaces out attempts at something that fails: exponential, with full jitter, capped.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is the state of one series of attempts. Cap must be positive and Floor between 0 and Cap.
// It is not safe for concurrent use.
type Backoff struct {
	// Floor is the least wait; the first one lies between Floor and Start.
	Floor time.Duration
	// Start is the most that the first wait can be; it doubles with each failure. 0 means 2 × Floor.
	Start time.Duration
	// Cap is the longest wait.
	Cap time.Duration
	// Rand draws the waits; nil means the process's own source. A simulation gives it to be repeatable.
	Rand *rand.Rand

	failures int
}

// Next returns how long to wait after one more failure: uniform between Floor and min(Cap, Start × 2ⁿ), n from 0, so that
// many devices that lost the same hub do not come back together.
func (b *Backoff) Next() time.Duration {
	start, shift := b.Start, b.failures
	if start == 0 {
		start, shift = b.Floor, shift+1
	}
	b.failures++
	top := b.Cap
	if shift < 63 && start < b.Cap>>shift {
		top = start << shift
	}
	span := max(top-b.Floor, 0) + 1
	if b.Rand != nil {
		return b.Floor + time.Duration(b.Rand.Int64N(int64(span)))
	}
	return b.Floor + rand.N(span) //nolint:gosec // jitter needs no secrecy
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
