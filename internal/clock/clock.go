// Package clock says when something happened on a machine whose wall clock may be wrong: boards without a
// real-time clock start years off and are corrected when the network comes.
package clock

import (
	"os"
	"strings"
	"time"
)

// Stamp is one moment. Mono with Boot is always right; Wall is only as good as the wall clock was.
type Stamp struct {
	// Boot is the kernel's random id of this boot (/proc/sys/kernel/random/boot_id), or "" where it has none.
	Boot string
	// Mono is the time since boot, suspends included (CLOCK_BOOTTIME of Linux; elsewhere since New).
	Mono time.Duration
	// Wall is the wall clock, in UTC.
	Wall time.Time
	// Trusted says that the wall clock was plausible at that moment.
	Trusted bool
}

// Clock makes stamps. Use New; a Clock may be used concurrently.
type Clock struct {
	boot string
	now  func() time.Time
	mono func() time.Duration
}

// Built is a time no correct clock can be before: the year this program was written.
func Built() time.Time { return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC) }

// New returns the machine's clock. A nil now means time.Now; tests pass their own to move the wall clock.
func New(now func() time.Time) *Clock {
	if now == nil {
		now = time.Now
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		id = nil // not Linux, or no /proc: stamps then carry no boot id
	}
	return &Clock{boot: strings.TrimSpace(string(id)), now: now, mono: boottime()}
}

// NewWith returns a clock made of its parts; tests give it a boot id and a monotonic time that is virtual too.
func NewWith(boot string, now func() time.Time, mono func() time.Duration) *Clock {
	return &Clock{boot: boot, now: now, mono: mono}
}

// Mono returns the time since boot, suspends included.
func (c *Clock) Mono() time.Duration { return c.mono() }

// Stamp returns the present moment.
func (c *Clock) Stamp() Stamp {
	wall := c.now().UTC()
	return Stamp{Boot: c.boot, Mono: c.mono(), Wall: wall, Trusted: Plausible(wall)}
}

// Now returns the wall clock's time, right or wrong.
func (c *Clock) Now() time.Time { return c.now() }

// Plausible reports whether a wall clock that says t may be right: not before this program was built, and not
// more than a lifetime of hardware after it.
func Plausible(t time.Time) bool {
	return t.After(Built()) && t.Before(Built().AddDate(50, 0, 0))
}
