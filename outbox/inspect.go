package outbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"iotagent/outbox/internal/boltfile"
	"iotagent/outbox/internal/segment"
)

// Stats returns the present counts. It never touches the disk. Gaps count as entries.
func (o *Outbox) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats
	s.Epoch = o.epoch
	for i := range o.lane {
		l := &o.lane[i]
		s.Queued[i] = l.queued.messages + uint64(len(l.gaps))
		s.Bytes[i] = l.queued.bytes
		if s.Queued[i] > 0 {
			s.Oldest[i] = o.oldestLocked(Lane(i))
		}
	}
	s.InFlight = o.flights + len(o.gapFlight)
	s.RAMOnly = o.ramOnlyLocked()
	if o.control != nil {
		s.Dead = uint64(len(o.control.letters))
	}
	s.DeadDropped = o.deadDropped
	s.DiskBytes, s.QuotaBytes, s.Degraded = o.diskLocked(), o.opt.MaxBytes, o.degraded
	s.SetAside = append([]string(nil), s.SetAside...)
	return s
}

// oldestLocked is about when the oldest of a lane was put: within a segment that is done in part, the time of its first.
func (o *Outbox) oldestLocked(lane Lane) (t time.Time) {
	l := &o.lane[lane]
	see := func(ms int64) {
		if x := millis(ms); t.IsZero() || x.Before(t) {
			t = x
		}
	}
	for _, g := range l.gaps {
		see(g.put)
		break
	}
	for _, s := range o.segs {
		if x := &s.lane[lane]; x.messages > 0 && x.last >= l.head() && !l.done.covers(max(x.first, l.head()), x.last) {
			see(x.oldest)
			return t
		}
	}
	for _, m := range l.staged.all() {
		if !m.gone && !m.written {
			see(m.put)
			break
		}
	}
	return t
}

// Inspect returns the counts of an outbox that no process has open; ErrLocked if one has. It changes nothing, and reads little at any
// length. A directory that does not exist yet is an empty outbox.
func Inspect(dir string) (Stats, error) {
	o, err := Open(dir, &Options{ReadOnly: true, LockWait: -1})
	if err != nil {
		return Stats{}, err
	}
	s := o.Stats()
	s.Epoch, s.QuotaBytes = 0, 0
	return s, o.Close()
}

// Verify reads every page and record of an outbox that no process has open and returns an error for whatever does not fit: pages,
// checksums, counts, order within the lanes, places that are used twice.
func Verify(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, controlName)); err != nil {
		return fmt.Errorf("outbox %w", err)
	}
	o, err := Open(dir, &Options{ReadOnly: true, LockWait: -1})
	if err != nil {
		return err
	}
	err = o.verify()
	if err = errors.Join(err, o.Close()); err != nil {
		return fmt.Errorf("outbox %s: %w", dir, err)
	}
	return nil
}

func (o *Outbox) verify() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := verifyFile(o.controlPath(), o.opt.OpenFile)
	for _, s := range o.segs {
		o.closeSegLocked(s) // it is opened anew
		if verr := segment.VerifyFile(o.segPath(s)); verr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", s.name(), verr))
		}
	}
	if err != nil {
		return err
	}
	for i := range o.lane {
		said := o.lane[i].queued
		if got := o.countLocked(Lane(i)); got != said {
			err = errors.Join(err, fmt.Errorf("%s: %d messages of %d bytes with %d readings are queued, the counts say %d, %d and %d",
				Lane(i), got.messages, got.bytes, got.readings, said.messages, said.bytes, said.readings))
		}
		last := uint64(0)
		for _, s := range o.segs {
			x := &s.lane[i]
			if x.messages > 0 && x.first <= last {
				err = errors.Join(err, fmt.Errorf("%s: %s begins at place %x, behind %x", Lane(i), s.name(), x.first, last))
			}
			last = max(last, x.last)
		}
	}
	for _, s := range o.segs {
		if s.sick != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", s.name(), s.sick))
		}
	}
	return err
}

// countLocked counts what is queued of a lane by reading all of it.
func (o *Outbox) countLocked(lane Lane) (t tally) {
	l := &o.lane[lane]
	at := l.head()
	for {
		s := o.segAtLocked(lane, at)
		if s == nil {
			return t
		}
		block, err := o.readLocked(s, lane, at)
		if err != nil {
			return t // the segment is sick now
		}
		if len(block) == 0 {
			at = s.lane[lane].last + 1
			continue
		}
		for _, r := range block {
			if r.Pos >= at && !l.done.has(r.Pos) {
				t.add(tally{1, uint64(len(r.Body)), uint64(r.Readings)})
			}
		}
		at = block[len(block)-1].Pos + 1
	}
}

// verifyFile reads every page of a bbolt file.
func verifyFile(path string, open func(string, int, os.FileMode) (*os.File, error)) error {
	f, err := open(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := boltfile.Verify(f, info.Size()); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return nil
}
