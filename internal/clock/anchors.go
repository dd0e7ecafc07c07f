package clock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"iotagent/internal/durable"
)

const (
	// maxBoots is how many boots are remembered: more than are likely to lie in a queue.
	maxBoots = 256
	// maxAnchors bounds those of one boot, where the clock is set again and again or nobody corrects the crystal; from then on there is a new one every seldom at most.
	maxAnchors = 16
	seldom     = 2 * time.Hour
	// moved is how far the true time must be from what the last anchor says to make another one.
	moved = 500 * time.Millisecond
)

// Anchors are the moments of this and earlier boots of which the true time was known. They are written when there is a new one, which is seldom: one each boot, and one
// more when the clock is set. Its methods may be called from any goroutine.
//
// What Find says of a moment that is past never changes, so that a message has the same bytes whenever it is sent: the anchor before it counts or, where there
// is none, the first of the boot, and anchors are only ever added at the end; of too many those go by which nothing was told (add).
type Anchors struct {
	path string

	mu    sync.Mutex
	boots []bootAnchors // oldest first
	dirty bool
	// broken is why the file could not be read; it is told once.
	broken error
}

type bootAnchors struct {
	boot    string
	anchors []Anchor // in order of Mono
}

// OpenAnchors reads a file that need not be there; "" keeps everything in memory. A file that cannot be read counts as empty, and the first Clock.Keep says so.
func OpenAnchors(path string) *Anchors {
	a := &Anchors{path: path}
	if path == "" {
		return a
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a
	}
	if err == nil {
		a.boots, err = parseAnchors(b)
	}
	if err != nil {
		a.boots, a.broken = nil, fmt.Errorf("%s: %w; the times of readings that wait from before this start may stay unknown", path, err)
	}
	return a
}

// AnchorsOf returns those of one boot, in memory, in the order of their moments, for tests.
func AnchorsOf(boot string, anchors ...Anchor) *Anchors {
	a := OpenAnchors("")
	for _, x := range anchors {
		a.add(boot, x)
	}
	return a
}

// Find returns the anchor by which the time of a moment is told; ok is false when there is none. A nil receiver knows of nothing.
func (a *Anchors) Find(boot string, mono time.Duration) (found Anchor, ok bool) {
	if a == nil {
		return Anchor{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.bootLocked(boot)
	if b == nil {
		return Anchor{}, false
	}
	found = b.anchors[0]
	for _, x := range b.anchors[1:] {
		if x.Mono < mono {
			found = x
		}
	}
	return found, true
}

func (a *Anchors) bootLocked(boot string) *bootAnchors {
	i := slices.IndexFunc(a.boots, func(b bootAnchors) bool { return b.boot == boot })
	if i < 0 {
		return nil
	}
	return &a.boots[i]
}

// last returns the latest anchor of a boot.
func (a *Anchors) last(boot string) (Anchor, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.bootLocked(boot)
	if b == nil {
		return Anchor{}, false
	}
	return b.anchors[len(b.anchors)-1], true
}

// wants reports whether an anchor says something new of its boot.
func (a *Anchors) wants(boot string, fix *Anchor) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.bootLocked(boot)
	if b == nil {
		return true
	}
	last := &b.anchors[len(b.anchors)-1]
	if fix.Mono < last.Mono || len(b.anchors) >= maxAnchors && fix.Mono-last.Mono < seldom {
		return false
	}
	return fix.Source.Sure() && !last.Source.Sure() || fix.base().Sub(last.base()).Abs() > moved
}

// add remembers an anchor, later than all others of its boot, and forgets the oldest boot when there are too many; of too many anchors it forgets those in the middle. The
// first two stay: one of them at the latest was sure, and after a sure one no stamp is without its time, so that nobody looks between the others.
func (a *Anchors) add(boot string, x Anchor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.bootLocked(boot)
	if b == nil {
		a.boots = append(a.boots, bootAnchors{boot: boot})
		a.boots = a.boots[max(0, len(a.boots)-maxBoots):]
		b = &a.boots[len(a.boots)-1]
	}
	if len(b.anchors) >= maxAnchors {
		b.anchors = slices.Delete(b.anchors, 2, 3)
	}
	b.anchors = append(b.anchors, x)
	a.dirty = a.path != "" && boot != ""
}

// save writes what is new, and tries again at the next call if that fails.
func (a *Anchors) save() error {
	a.mu.Lock()
	dirty, broken := a.dirty, a.broken
	var b []byte
	if dirty {
		b = a.encodeLocked()
	}
	a.dirty, a.broken = false, nil
	a.mu.Unlock()
	if !dirty {
		return broken
	}
	if err := durable.WriteFile(a.path, b, 0o640); err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.dirty = true
		return errors.Join(broken, err)
	}
	return broken
}

// anchorFile is the file's JSON.
type anchorFile struct {
	Boots []anchorBoot `json:"boots"`
}

type anchorBoot struct {
	Boot    string       `json:"boot"`
	Anchors []anchorText `json:"anchors"`
}

type anchorText struct {
	// UptimeNanos is the time since boot.
	UptimeNanos int64     `json:"uptime_ns"`
	Time        time.Time `json:"time,omitzero"`
	Source      Source    `json:"source"`
	BoundMillis int64     `json:"bound_ms,omitempty"`
}

func (a *Anchors) encodeLocked() []byte {
	f := anchorFile{Boots: []anchorBoot{}}
	for _, b := range a.boots {
		if b.boot == "" { // nobody could tell it from another
			continue
		}
		t := anchorBoot{Boot: b.boot}
		for _, x := range b.anchors {
			t.Anchors = append(t.Anchors, anchorText{int64(x.Mono), x.Wall, x.Source, x.Bound.Milliseconds()})
		}
		f.Boots = append(f.Boots, t)
	}
	text, err := json.Marshal(f)
	if err != nil { // times that are plausible always marshal
		return nil
	}
	return append(text, '\n')
}

func parseAnchors(text []byte) ([]bootAnchors, error) {
	var f anchorFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	var boots []bootAnchors
	for _, t := range f.Boots {
		b := bootAnchors{boot: t.Boot}
		for i, x := range t.Anchors {
			a := Anchor{time.Duration(x.UptimeNanos), x.Time.UTC(), x.Source, time.Duration(x.BoundMillis) * time.Millisecond}
			if err := a.check(); err != nil {
				return nil, fmt.Errorf("boot %q: anchor %d: %w", t.Boot, i+1, err)
			}
			if i > 0 && a.Mono < b.anchors[i-1].Mono {
				return nil, fmt.Errorf("boot %q: anchors out of order", t.Boot)
			}
			b.anchors = append(b.anchors, a)
		}
		if t.Boot == "" || len(b.anchors) == 0 || slices.ContainsFunc(boots, func(o bootAnchors) bool { return o.boot == t.Boot }) {
			return nil, fmt.Errorf("boot %q: empty, or there twice", t.Boot)
		}
		boots = append(boots, b)
	}
	return boots, nil
}

// check refuses what this package would not have written.
func (a *Anchor) check() error {
	switch a.Source {
	case Kernel, Hub, Unconfirmed:
		if !Plausible(a.Wall) {
			return fmt.Errorf("the time %s cannot be", a.Wall)
		}
	case Unknown:
	default:
		return fmt.Errorf("unknown source %q", a.Source)
	}
	if a.Mono < 0 || a.Bound < 0 {
		return errors.New("negative")
	}
	return nil
}

// Path returns where the file lies in a state directory.
func Path(stateDir string) string { return filepath.Join(stateDir, "clock.json") }
