// Package clock says when something happened on a machine whose wall clock may be wrong: boards without a
// real-time clock start years off, or hours when a program saved the time over the power cut, and are corrected when the network comes.
//
// # Trust
//
// The wall clock is right when the kernel calls it synchronised, or when the hub's own time agreed lately and nobody has set the clock since. Otherwise the
// time since boot is right all the same, and it takes one moment of that boot of which both are known, an [Anchor], to turn it into a time: for what
// was before it, and for what comes after it while the wall clock is not vouched for. [Anchors] keeps them over restarts.
//
// # How exact
//
// CLOCK_BOOTTIME runs at the rate that the time service gave the kernel, so what comes after an anchor stays right for as long as that learned rate holds. Before the first
// synchronisation a crystal runs at its own rate, off by up to 100 ppm: a reading taken 2.7 h before its anchor is within 1 s, one taken a day before it
// within 9 s. [Anchor.Within] says it for any moment.
package clock

import (
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"time"
)

// Stamp is one moment. Mono with Boot is always right; Wall is only as good as the wall clock was.
type Stamp struct {
	// Boot is the kernel's random id of this boot (/proc/sys/kernel/random/boot_id); where there is none, one of this process.
	Boot string
	// Mono is the time since boot, suspends included (CLOCK_BOOTTIME of Linux; elsewhere since New).
	Mono time.Duration
	// Wall is the wall clock, in UTC, right or wrong.
	Wall time.Time
	// Trusted says that Wall is the true time: synchronised, or confirmed by the hub.
	Trusted bool
	// Restored is the true time where Wall is not trusted, but was once in this boot, or the hub has said what time it is; otherwise zero.
	Restored time.Time
}

// Plausible reports whether the wall clock may have been right.
func (s *Stamp) Plausible() bool { return Plausible(s.Wall) }

// True returns the true time; ok is false while nobody knows it.
func (s *Stamp) True() (t time.Time, ok bool) {
	if s.Trusted {
		return s.Wall, true
	}
	return s.Restored, !s.Restored.IsZero()
}

// Ago returns the stamp of a moment that long before.
func (s Stamp) Ago(d time.Duration) Stamp {
	s.Mono, s.Wall = max(s.Mono-d, 0), s.Wall.Add(-d)
	if !s.Restored.IsZero() {
		s.Restored = s.Restored.Add(-d)
	}
	return s
}

// Parts are what a clock is made of.
type Parts struct {
	// Boot is the id of this boot.
	Boot string
	// Now is the wall clock, Mono the time since boot.
	Now  func() time.Time
	Mono func() time.Duration
	// Synchronised says whether the kernel vouches for the wall clock.
	Synchronised func() bool
	// Anchors remembers what is known of this boot and of earlier ones; nil keeps it in memory.
	Anchors *Anchors
}

// Clock makes stamps. Use New; a Clock may be used concurrently.
type Clock struct {
	p Parts

	mu sync.Mutex
	// base is what the wall clock said at boot, as it looks now: another one each time that somebody sets it. It is zero before the first look.
	base time.Time
	// synced is what the kernel said at the time since boot asked.
	synced bool
	asked  time.Duration
	// fix is the latest moment of which the true time is known, if any is.
	fix   Anchor
	fixed bool
	// hub is the hub's time, as narrow as all its answers make it; nil when there was none.
	hub *Anchor
	// state began at the time since boot since.
	state State
	since time.Duration
	step  *Step
	steps uint64
}

// Built is a time no correct clock can be before: the year this program was written.
func Built() time.Time { return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC) }

// New returns the machine's clock. A nil now means time.Now; tests pass their own to move the wall clock.
func New(now func() time.Time) *Clock { return machine(now, nil) }

// Open is New for a clock that remembers anchors.
func Open(a *Anchors) *Clock { return machine(nil, a) }

func machine(now func() time.Time, a *Anchors) *Clock {
	if now == nil {
		now = time.Now
	}
	return Of(&Parts{Boot: bootID("/proc/sys/kernel/random/boot_id"), Now: now, Mono: boottime(), Synchronised: synchronised, Anchors: a})
}

// bootID returns what the kernel's file says. Where there is none (not Linux, or no /proc) it makes one up, for this process alone: a time since one boot must never be
// taken for one since another, nor the anchor of this boot for that of what waits from the last.
func bootID(path string) string {
	text, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(text)); err == nil && id != "" {
		return id
	}
	return "process-" + rand.Text()
}

// Of returns a clock made of its parts; tests give it those that are virtual.
func Of(p *Parts) *Clock {
	c := &Clock{p: *p}
	if c.p.Anchors == nil {
		c.p.Anchors = OpenAnchors("")
	}
	if a, ok := c.p.Anchors.last(c.p.Boot); ok && a.Source.Sure() {
		c.fix, c.fixed = a, true
	}
	return c
}

// NewWith returns a clock whose wall clock the kernel vouches for.
func NewWith(boot string, now func() time.Time, mono func() time.Duration) *Clock {
	return Of(&Parts{Boot: boot, Now: now, Mono: mono, Synchronised: func() bool { return true }})
}

// Mono returns the time since boot, suspends included.
func (c *Clock) Mono() time.Duration { return c.p.Mono() }

// Now returns the wall clock's time, right or wrong.
func (c *Clock) Now() time.Time { return c.p.Now() }

// Anchors returns what is known of this boot and of earlier ones.
func (c *Clock) Anchors() *Anchors { return c.p.Anchors }

// Stamp returns the present moment.
func (c *Clock) Stamp() Stamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lookLocked()
}

// Plausible reports whether a wall clock that says t may be right: not before this program was built, and not
// more than a lifetime of hardware after it.
func Plausible(t time.Time) bool {
	return t.After(Built()) && t.Before(Built().AddDate(50, 0, 0))
}
