package outbox

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/internal/durable"
)

// commitControlLocked writes what changed into control.db: acknowledgements, gaps, dead letters, the catalog. Segments of which all is
// done leave the catalog with it, and then the disk.
func (o *Outbox) commitControlLocked() error {
	c := o.control
	if c == nil {
		return o.reopenControlLocked()
	}
	w, p := o.wishLocked()
	if c.idle(w) {
		o.committedLocked(p)
		return nil
	}
	started := time.Now()
	var written uint64
	if err := o.io(func() (err error) {
		written, err = c.commit(w)
		return err
	}); err != nil {
		o.unwishLocked(p)
		if isDamage(err) {
			o.controlSick = err
			return nil
		}
		o.control = nil
		// A write for which there was no room left the last commit as it was. After anything else, a failed fsync above all, the file
		// may show what the disk never got, and is not trusted again.
		o.distrusted = o.distrusted || !errors.Is(err, unix.ENOSPC)
		return errors.Join(err, o.io(c.close))
	}
	c.took(w)
	o.committedLocked(p)
	o.tookLocked(started, written)
	return o.unlinkLocked()
}

// plan is what a commit of control.db takes along, to be published or taken back.
type plan struct {
	marking                                 []*group
	marked                                  [lanes]bool
	acks                                    int
	rejects                                 []*rejection
	gaps                                    map[*gapEntry]Gap
	dead                                    []*seg
	touched                                 map[*seg][lanes]bool
	marker, touch, gapsChanged, segsChanged bool
}

func (o *Outbox) wishLocked() (*wish, *plan) {
	p := &plan{
		acks: o.acks, rejects: slices.Clone(o.rejects), marker: o.markerDue, touch: o.touchDue, gapsChanged: o.gapsChanged,
		segsChanged: o.segsChanged, gaps: map[*gapEntry]Gap{}, dead: o.deadLocked(), touched: map[*seg][lanes]bool{},
	}
	p.marking, p.marked, o.marking = o.marking, o.marker, nil
	o.markerDue, o.touchDue, o.gapsChanged, o.segsChanged = false, false, false, false
	w := &wish{state: o.stateLocked(p.dead), unearth: slices.Clone(o.unearth)}
	for _, r := range p.rejects {
		w.bury = append(w.bury, r.letter)
	}
	gone := o.trimLocked(w.bury)
	o.trimmed = uint64(len(gone))
	w.unearth = append(w.unearth, gone...)
	if p.gapsChanged {
		w.gaps = map[string][]byte{}
		for i := range o.lane {
			for _, g := range o.lane[i].gaps {
				p.gaps[g] = g.gap
				w.gaps[string(g.key())] = g.encode()
			}
		}
	}
	if p.touch || p.segsChanged || len(p.dead) > 0 {
		w.segs = map[string][]byte{}
		for _, s := range o.segs {
			p.touched[s] = s.touching
			if !slices.Contains(p.dead, s) {
				w.segs[string(bigEndian(s.order))] = s.encode()
			}
		}
	}
	return w, p
}

// stateLocked is the summary as it will be without the segments that go.
func (o *Outbox) stateLocked(dead []*seg) []byte {
	st := state{deadDropped: o.deadDropped + o.trimmed, order: o.order}
	if !o.clean {
		st.epoch, st.lanes, st.maxLoss = o.epoch, o.marker, o.opt.MaxLoss
		if st.lanes == [lanes]bool{} {
			st.epoch, st.maxLoss = 0, 0
		}
	}
	for i := range o.lane {
		l := &o.lane[i]
		x := &st.lane[i]
		x.head, x.done, x.removed = l.head(), l.settled(), l.removed()
		for _, s := range dead {
			x.removed.sub(s.lane[i].tally)
		}
	}
	return st.encode()
}

// deadLocked lists the segments of which nothing is left. The active one stays while it is small.
func (o *Outbox) deadLocked() (dead []*seg) {
	for _, s := range o.segs {
		if s.active && (s.file == nil || s.file.Used() <= smallActive) || s.sick != nil || s.busy || !o.emptyLocked(s) {
			continue
		}
		dead = append(dead, s)
	}
	return dead
}

// emptyLocked says that all messages of a segment are done. Each of its runs must be, as far as the head has not passed it.
func (o *Outbox) emptyLocked(s *seg) bool {
	for i := range s.runs {
		r := &s.runs[i]
		if r.Lane >= lanes || r.Count == 0 {
			continue
		}
		l, x := &o.lane[r.Lane], &s.lane[r.Lane]
		from, to := max(r.First, l.head()), min(r.Last, x.last)
		if x.messages > 0 && from <= to && !l.done.covers(from, to) {
			return false
		}
	}
	return true
}

// committedLocked publishes a commit.
func (o *Outbox) committedLocked(p *plan) {
	o.acks -= p.acks
	if o.acks > 0 {
		o.firstAck = time.Now()
	}
	o.rejects = slices.DeleteFunc(o.rejects, func(r *rejection) bool { return slices.Contains(p.rejects, r) })
	for _, r := range p.rejects {
		if !r.told {
			r.told = true
			r.done <- nil
		}
	}
	o.unearth = nil
	o.deadDropped += o.trimmed
	o.trimmed = 0
	for g, then := range p.gaps {
		g.fresh = g.fresh && g.gap != then
	}
	for s, lanes := range p.touched {
		for i, on := range lanes {
			s.touched[i] = s.touched[i] || on
		}
	}
	for _, s := range p.dead {
		for i := range o.lane {
			o.lane[i].appended.sub(s.lane[i].tally)
		}
		o.garbage = append(o.garbage, s.name())
		o.closeSegLocked(s)
		s.active = false
	}
	if len(p.dead) > 0 {
		o.segs = slices.DeleteFunc(o.segs, func(s *seg) bool { return slices.Contains(p.dead, s) })
	}
	for i := range o.lane {
		o.lane[i].done = o.lane[i].done.before(o.lane[i].head())
	}
	o.markerOld = o.markerOld || p.marker
	o.marked = p.marked
	for _, g := range p.marking {
		g.one()
	}
	o.signalLocked()
	o.signalRoomLocked()
}

// unwishLocked takes back what wishLocked noted.
func (o *Outbox) unwishLocked(p *plan) {
	o.markerDue, o.touchDue = o.markerDue || p.marker, o.touchDue || p.touch
	o.gapsChanged, o.segsChanged = o.gapsChanged || p.gapsChanged, o.segsChanged || p.segsChanged || p.touch
	o.marking = append(p.marking, o.marking...)
	o.trimmed = 0
}

// unlinkLocked removes the files that left the catalog. One that stays is removed at the next start.
func (o *Outbox) unlinkLocked() error {
	if len(o.garbage) == 0 {
		return nil
	}
	names := o.garbage
	o.garbage = nil
	err := o.io(func() (err error) {
		for _, n := range names {
			err = errors.Join(err, removeIfThere(filepath.Join(o.dir, n)))
		}
		return errors.Join(err, durable.SyncDir(o.dir))
	})
	if err != nil {
		o.opt.Logger.Warn("outbox file not removed; the next start does it", "dir", o.dir, "error", err)
	}
	return nil
}

// removeIfThere looks first: a read-only file system refuses even what would change nothing.
func removeIfThere(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return os.Remove(path)
}

// reopenControlLocked opens control.db anew after a commit failed, or writes it anew when it cannot be trusted. What is in memory is right,
// whatever the file says.
func (o *Outbox) reopenControlLocked() error {
	if o.distrusted {
		return o.renewControlLocked(false)
	}
	var c *control
	err := o.io(func() (err error) {
		c, err = openControl(o.controlPath(), &o.opt)
		return err
	})
	if isDamage(err) {
		return o.rebuildControlLocked(err)
	}
	if err != nil {
		return err
	}
	o.control = c
	o.gapsChanged, o.segsChanged = true, true
	return nil
}

func (o *Outbox) mendControlLocked() error { return o.rebuildControlLocked(o.controlSick) }

// rebuildControlLocked replaces a damaged control.db.
func (o *Outbox) rebuildControlLocked(cause error) error {
	o.opt.Logger.Error("outbox control file is damaged: it is written anew and the old one set aside", "dir", o.dir, "error", cause)
	return o.renewControlLocked(true)
}

// renewControlLocked makes another control.db of what is in memory, which is complete but for the dead letters: those are taken from
// the old file as far as they can be read.
func (o *Outbox) renewControlLocked(keep bool) error {
	old := o.control
	if old == nil {
		o.control = new(control) // its letters are not known
	}
	o.gapsChanged, o.segsChanged = true, true
	w, p := o.wishLocked()
	o.control = nil
	var c *control
	err := o.io(func() (err error) {
		_ = old.close() // nothing of it is trusted
		c, err = renewControl(o.dir, &o.opt, w, keep)
		return err
	})
	if err != nil {
		o.unwishLocked(p)
		return err
	}
	o.control, o.controlSick, o.distrusted = c, nil, false
	o.committedLocked(p)
	o.stats.SetAside = setAside(o.dir)
	return errors.Join(o.unlinkLocked(), o.commitControlLocked())
}

// renewControl makes another control.db that holds what is wished and the dead letters that can be read. The old one is set aside if it is
// to be kept.
func renewControl(dir string, o *Options, w *wish, keep bool) (*control, error) {
	path := filepath.Join(dir, controlName)
	old, err := salvageControl(path, o)
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Sorted(maps.Keys(old.salvaged)) {
		w.bury = append(w.bury, letter{n, old.salvaged[n]})
	}
	tmp := path + tmpSuffix
	if err := removeIfThere(tmp); err != nil {
		return nil, err
	}
	c, err := openControl(tmp, o)
	if err != nil {
		return nil, err
	}
	_, err = c.commit(w)
	if err = errors.Join(err, c.close()); err != nil {
		return nil, errors.Join(err, removeIfThere(tmp))
	}
	if keep {
		if err := keepAside(path, o.Now()); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(os.Rename(tmp, path), durable.SyncDir(dir)); err != nil {
		return nil, err
	}
	return openControl(path, o)
}
