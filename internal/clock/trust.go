package clock

import "time"

// State is how far the wall clock is to be believed.
type State string

// The states, in docs/formats.md too.
const (
	// Synchronised: the kernel says so.
	Synchronised State = "synchronised"
	// Confirmed: the hub's own time agrees.
	Confirmed State = "confirmed"
	// Restored: nobody vouches for it now, but times are known from an earlier moment of this boot, or from the hub.
	Restored State = "restored"
	// Uncertain: it may be right, but nobody has vouched for it since the machine was started.
	Uncertain State = "unconfirmed"
	// Implausible: it cannot be right.
	Implausible State = "implausible"
)

const (
	// askEvery is for how long the kernel's word holds, unless the wall clock is set meanwhile.
	askEvery = 100 * time.Millisecond
	// stepSize is by how much the wall clock has to differ from the time that went by to count as set.
	stepSize = time.Second
	// promise is how far a time may be off at worst.
	promise = time.Second
)

// Step is a time at which somebody set the wall clock.
type Step struct {
	// Mono is when it was noticed; By is how far the clock went, back where negative.
	Mono time.Duration
	By   time.Duration
}

// lookLocked looks at the clocks and takes note of what changed.
func (c *Clock) lookLocked() Stamp {
	wall, mono := c.readLocked()
	s := Stamp{Boot: c.p.Boot, Mono: mono, Wall: wall}
	state := c.judgeLocked(wall, mono)
	switch state {
	case Synchronised:
		c.fix, c.fixed, s.Trusted = Anchor{Mono: mono, Wall: wall, Source: Kernel}, true, true
	case Confirmed:
		c.fix, c.fixed, s.Trusted = Anchor{Mono: mono, Wall: wall, Source: Hub, Bound: c.offLocked(mono)}, true, true
	case Restored, Implausible, Uncertain:
		if c.fixed {
			s.Restored = c.fix.Time(mono).UTC()
		}
	}
	if state != c.state {
		c.state, c.since = state, mono
	}
	return s
}

// readLocked reads the clocks, notices steps, and asks the kernel for its word where that is old or the clock was set since.
func (c *Clock) readLocked() (wall time.Time, mono time.Duration) {
	wall, mono = c.p.Now().Round(0).UTC(), c.p.Mono() // without Go's own monotonic time, which would hide every step
	by := wall.Add(-mono).Sub(c.base)
	stepped := by.Abs() > stepSize
	if stepped || mono-c.asked >= askEvery {
		before := c.p.Synchronised()
		wall, mono = c.p.Now().Round(0).UTC(), c.p.Mono()
		c.synced, c.asked = before && c.p.Synchronised(), mono // nobody set the clock in between, or set it right
		by = wall.Add(-mono).Sub(c.base)
		stepped = by.Abs() > stepSize
	}
	if stepped && !c.base.IsZero() {
		c.step = &Step{mono, by}
		c.steps++
	}
	c.base = wall.Add(-mono)
	return wall, mono
}

func (c *Clock) judgeLocked(wall time.Time, mono time.Duration) State {
	switch {
	case !Plausible(wall):
		return Implausible
	case c.synced:
		return Synchronised
	case c.hub != nil && c.offLocked(mono) <= promise:
		return Confirmed
	case c.fixed:
		return Restored
	}
	return Uncertain
}

// offLocked is how far the wall clock may be off at worst, by what the hub said.
func (c *Clock) offLocked(mono time.Duration) time.Duration {
	return c.base.Sub(c.hub.base()).Abs() + c.hub.Within(mono)
}

// Compare takes note of the hub's time as of now, which may be off by within. Where the kernel does not vouch for the wall clock, the hub does if they agree, for as
// long as no drift can have made them differ; and if not, its time is the true one.
func (c *Clock) Compare(hub time.Time, within time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.lookLocked()
	if !Plausible(hub) {
		return
	}
	said := Anchor{Mono: s.Mono, Wall: hub.Round(0).UTC(), Source: Hub, Bound: within}
	if c.hub != nil {
		said = said.meet(c.hub)
	}
	c.hub = &said
	if c.fixed && c.fix.agrees(&said) && c.fix.Within(s.Mono) <= said.Bound {
		return // what was known before is finer
	}
	c.fix, c.fixed = said, true
	c.lookLocked()
}

// Status is what is known of the clock.
type Status struct {
	Stamp
	State State
	// Since is when the state began, as a time since boot.
	Since time.Duration
	// Fix is the latest moment of which the true time is known; nil when there is none in this boot.
	Fix *Anchor
	// Ahead is by how much the wall clock is ahead of the hub's time, give or take Within, after the last answer, at Asked; nil if there was none.
	Ahead, Within time.Duration
	Asked         *time.Duration
	// Step is when the clock was set last, since the start, Steps how often.
	Step  *Step
	Steps uint64
}

// Status looks at the clock.
func (c *Clock) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{Stamp: c.lookLocked(), State: c.state, Since: c.since, Steps: c.steps}
	if c.fixed {
		fix := c.fix
		s.Fix = &fix
	}
	if c.step != nil {
		step := *c.step
		s.Step = &step
	}
	if h := c.hub; h != nil {
		asked := h.Mono
		s.Ahead, s.Within, s.Asked = c.base.Sub(h.base()), h.Within(s.Mono), &asked
	}
	return s
}

// Keep remembers what is known of this boot, where that is new, in a file; it is to be called when the true time may have become known, and by one goroutine only. It reports whether
// this boot has an anchor. After an error it has one in memory only.
func (c *Clock) Keep() (anchored bool, err error) {
	c.mu.Lock()
	c.lookLocked()
	fix, fixed := c.fix, c.fixed
	c.mu.Unlock()
	if fixed && c.p.Anchors.wants(c.p.Boot, &fix) {
		c.p.Anchors.add(c.p.Boot, fix)
	}
	_, anchored = c.p.Anchors.last(c.p.Boot)
	return anchored, c.p.Anchors.save()
}

// Assume gives a boot without an anchor the one that the wall clock makes though nobody vouches for it, because something of it is sent now. From then on
// what was taken before stays what it is said to be.
func (c *Clock) Assume() error {
	if anchored, err := c.Keep(); anchored {
		return err
	}
	c.mu.Lock()
	s := c.lookLocked()
	c.mu.Unlock()
	a := Anchor{Mono: s.Mono, Wall: s.Wall, Source: Unconfirmed}
	if !s.Plausible() {
		a = Anchor{Mono: s.Mono, Source: Unknown}
	}
	c.p.Anchors.add(c.p.Boot, a)
	return c.p.Anchors.save()
}
