package outbox

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"iotagent/outbox/internal/segment"
)

// disk is what the files of an outbox say, before anything of it is in use.
type disk struct {
	control *control
	st      state
	segs    []*seg // by order
	gaps    []*gapEntry
	losses  []loss
	// stray are files that no catalog names any more.
	stray []string
	// recount says that the counts of the state cannot be right.
	recount bool
	// mended reports on what was damaged; sick is why control.db cannot be trusted, when it may not be mended.
	mended []FileReport
	sick   error
}

// loader reads the directory, and mends what it must to be able to.
type loader struct {
	dir string
	opt *Options
	seg *segment.Options
	d   disk
	// lost says that there was no control file to go by; looking, that nothing can be written.
	lost, looking bool
	// stale says that control.db may be older than the segments.
	stale bool
	// illegible are the keys of catalog entries that cannot be read.
	illegible []string
	// drawn are the epochs of runs of which nobody knew theirs.
	drawn map[uint32]uint64
}

// look is load where nothing can be written; nil when that does not work either.
func (l *loader) look() *disk {
	opt := *l.opt
	opt.ReadOnly = true
	r := &loader{dir: l.dir, opt: &opt, seg: l.seg, looking: true}
	d, err := r.load()
	if err != nil {
		opt.Logger.Debug("outbox cannot be read either", "dir", l.dir, "error", err)
		return nil
	}
	return d
}

// load reads what is there; an absent or empty directory is an empty outbox. Damage is repaired, unless the outbox is opened for reading
// only. What it opened is closed when it fails.
func (l *loader) load() (d *disk, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, l.d.close())
		}
	}()
	for _, step := range []func() error{l.upgrade, l.openControl, l.decode, l.findSegments, l.openActive, l.overlaps} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &l.d, nil
}

func (d *disk) close() error {
	err := d.control.close()
	for _, s := range d.segs {
		err = errors.Join(err, s.close())
	}
	return err
}

func (l *loader) openControl() (err error) {
	path := filepath.Join(l.dir, controlName)
	if l.opt.ReadOnly {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			l.lost = true
			return nil
		}
	} else if err := removeIfThere(path + tmpSuffix); err != nil {
		return err
	}
	l.d.control, err = openControl(path, l.opt)
	if l.opt.ReadOnly && errors.Is(err, fs.ErrNotExist) { // nothing was ever written into it
		l.lost = true
		return nil
	}
	if !isDamage(err) {
		return err
	}
	if l.opt.ReadOnly { // what can be read of it will do for looking
		l.d.sick = err
		l.d.control, err = salvageControl(path, l.opt)
		return err
	}
	l.d.mended = append(l.d.mended, FileReport{Name: controlName, Problem: err.Error(), Repaired: true, AtMost: true})
	l.opt.Logger.Error("outbox control file is damaged: it is written anew and the old one set aside", "dir", l.dir, "error", err)
	old, err := salvageControl(path, l.opt)
	if err != nil {
		return err
	}
	w := &wish{state: old.state, gaps: old.gaps, segs: old.segs}
	if w.state == nil {
		w.state = (&state{}).encode()
	}
	if old.torn { // declared with the same commit
		g := &gapEntry{id: ID{Epoch: newEpoch(), Lane: Normal, Seq: 1}, gap: nobodyKnows().gap, put: l.opt.Now().UnixMilli()}
		if w.gaps == nil {
			w.gaps = map[string][]byte{}
		}
		w.gaps[string(g.key())] = g.encode()
	}
	l.d.recount, l.stale = true, true
	l.d.control, err = renewControl(l.dir, l.opt, w, true)
	return err
}

// decode reads the records of control.db. Each has a checksum of its own.
func (l *loader) decode() (err error) {
	c := l.d.control
	if c == nil {
		return nil
	}
	if c.state == nil {
		l.lost = true
	} else if l.d.st, err = decodeState(c.state); err != nil {
		l.d.recount = true
		l.d.losses = append(l.d.losses, nobodyKnows())
	}
	unread := false
	for _, k := range slices.Sorted(maps.Keys(c.gaps)) {
		if g, err := decodeGap([]byte(k), c.gaps[k]); err == nil {
			l.d.gaps = append(l.d.gaps, g)
		} else {
			l.opt.Logger.Error("outbox: a gap cannot be read", "dir", l.dir, "error", err)
			unread = true
		}
	}
	if unread {
		l.d.losses = append(l.d.losses, nobodyKnows())
	}
	for _, k := range slices.Sorted(maps.Keys(c.segs)) {
		s, err := decodeSeg([]byte(k), c.segs[k])
		if err != nil {
			l.opt.Logger.Error("outbox: a catalog entry cannot be read; the file itself is asked", "dir", l.dir, "error", err)
			l.d.recount, l.illegible = true, append(l.illegible, k)
			continue
		}
		l.d.segs = append(l.d.segs, s)
	}
	return nil
}

// findSegments holds the catalog against the directory.
func (l *loader) findSegments() error {
	names, err := os.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	there := map[string]int64{}
	known := map[uint64]bool{}
	for _, s := range l.d.segs {
		known[s.order] = true
	}
	for _, n := range names {
		order, gen, ok := parseSegName(n.Name())
		if !ok {
			continue
		}
		info, err := n.Info()
		if err != nil {
			continue // it went meanwhile, which only happens while looking at one in use
		}
		there[n.Name()] = allocated(info)
		// A file that the catalog does not know was being made, or comes from a later time than control.db, or control.db is damaged. One
		// that is older than the newest it ever knew was given up.
		if !known[order] && (order > l.d.st.order || l.lost || l.d.recount) && !l.leftover(order, gen, names) {
			l.d.segs = append(l.d.segs, &seg{order: order, gen: gen, active: true, inherited: true, stranger: !l.unnamed(order)})
		}
	}
	slices.SortFunc(l.d.segs, func(a, b *seg) int { return cmp.Compare(a.order, b.order) })
	l.d.segs = slices.DeleteFunc(l.d.segs, func(s *seg) bool {
		size, ok := there[s.name()]
		if !ok {
			l.missing(s)
			return true
		}
		s.disk = size
		delete(there, s.name())
		return false
	})
	l.d.stray = slices.Collect(maps.Keys(there))
	if len(l.illegible) > 0 { // of files that are not there
		l.d.losses = append(l.d.losses, nobodyKnows())
	}
	return nil
}

// unnamed says that the catalog has an entry for a segment, and that it cannot be read.
func (l *loader) unnamed(order uint64) bool {
	n := len(l.illegible)
	l.illegible = slices.DeleteFunc(l.illegible, func(k string) bool { return k == string(bigEndian(order)) })
	return len(l.illegible) < n
}

// leftover says that a file has an older brother, whose place it was being written to take when the process died.
func (l *loader) leftover(order uint64, gen uint32, names []fs.DirEntry) bool {
	for _, n := range names {
		if o, g, ok := parseSegName(n.Name()); ok && o == order && g < gen {
			return true
		}
	}
	return false
}

// missing declares what a file held that is gone.
func (l *loader) missing(s *seg) {
	l.opt.Logger.Error("outbox file is missing", "dir", l.dir, "file", s.name())
	l.d.recount = true
	v := l.salvager(s)
	v.sure = !s.active
	v.counts, v.epochs = map[runKey]tally{}, map[uint32]uint64{}
	for i := range s.runs {
		v.know(&s.runs[i])
	}
	l.d.losses = append(l.d.losses, v.losses()...)
}

func (l *loader) salvager(s *seg) *salvager {
	v := &salvager{dir: l.dir, opt: l.opt, seg: l.seg, runs: s.runs, epoch: l.epochOf, stale: l.stale}
	for i := range v.head {
		v.head[i], v.done[i] = l.d.st.lane[i].head, l.d.st.lane[i].done
		for _, x := range l.d.segs {
			if x.order < s.order {
				v.prev[i] = max(v.prev[i], x.lane[i].last)
			}
		}
	}
	return v
}

// epochOf asks the other files for the epoch of a run. When none knows, it gets a new one.
func (l *loader) epochOf(run uint32) uint64 {
	for _, s := range l.d.segs {
		for i := range s.runs {
			if r := &s.runs[i]; runOf(r.First) == run && r.Epoch != 0 {
				return r.Epoch
			}
		}
	}
	if l.drawn[run] == 0 {
		if l.drawn == nil {
			l.drawn = map[uint32]uint64{}
		}
		l.drawn[run] = newEpoch()
	}
	return l.drawn[run]
}
