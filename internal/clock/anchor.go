package clock

import "time"

// Source says how an anchor's time was known.
type Source string

// The sources, in docs/formats.md too.
const (
	// Kernel: the kernel called the wall clock synchronised.
	Kernel Source = "kernel"
	// Hub: the hub's own time agreed with the wall clock, or was taken in its place.
	Hub Source = "hub"
	// Unconfirmed: nobody vouched for the wall clock, but it may have been right.
	Unconfirmed Source = "unconfirmed"
	// Unknown: it could not be right. The time of nothing before it will ever be known.
	Unknown Source = "unknown"
)

// Sure reports whether the time was vouched for.
func (s Source) Sure() bool { return s == Kernel || s == Hub }

// Anchor is one moment of a boot: the time since boot, and what time it was.
type Anchor struct {
	Mono   time.Duration
	Wall   time.Time
	Source Source
	// Bound is how far Wall may be off.
	Bound time.Duration
}

// drift is how far a crystal that nobody corrects may be off: 100 ppm.
const drift = 10_000

// Time returns what time it was at another moment of the same boot.
func (a *Anchor) Time(mono time.Duration) time.Time { return a.Wall.Add(mono - a.Mono) }

// Within returns how far Time may be off at worst.
func (a *Anchor) Within(mono time.Duration) time.Duration {
	return a.Bound + (mono-a.Mono).Abs()/drift
}

// base is what the wall clock would have said at boot.
func (a *Anchor) base() time.Time { return a.Wall.Add(-a.Mono) }

// agrees reports whether both can be right.
func (a *Anchor) agrees(b *Anchor) bool {
	return a.base().Sub(b.base()).Abs() <= a.Within(b.Mono)+b.Bound
}

// meet returns what is left when an older anchor is right, too: the times that both allow. Where they cannot both be right the older one does not count.
func (a *Anchor) meet(older *Anchor) Anchor {
	if !older.agrees(a) {
		return *a
	}
	bound := older.Within(a.Mono)
	low, high := a.Wall.Add(-a.Bound), a.Wall.Add(a.Bound)
	if t := older.Time(a.Mono).Add(-bound); t.After(low) {
		low = t
	}
	if t := older.Time(a.Mono).Add(bound); t.Before(high) {
		high = t
	}
	both := *a
	both.Bound = high.Sub(low) / 2
	both.Wall = low.Add(both.Bound)
	return both
}
