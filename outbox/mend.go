package outbox

import "slices"

// mendSegmentsLocked deals with segments that could not be read.
func (o *Outbox) mendSegmentsLocked() error {
	o.sick = false // whatever is met from now on counts for the next time
	for _, s := range slices.Clone(o.segs) {
		if s.sick == nil || !o.holdsLocked(s) {
			continue
		}
		if err := o.cureLocked(s); err != nil {
			o.sick = true
			return err
		}
	}
	o.signalLocked()
	return nil
}

func (o *Outbox) cureLocked(s *seg) error {
	if !isDamage(s.sick) { // the disk's trouble: once it can be opened again, all is well
		o.closeSegLocked(s)
		s.sick = nil
		if s.active {
			o.retireLocked(s)
		}
		if s.sick = o.openLocked(s); s.sick == nil || !isDamage(s.sick) {
			return s.sick
		}
	}
	return o.mendLocked(s)
}

// mendLocked replaces a damaged segment.
func (o *Outbox) mendLocked(s *seg) error {
	o.opt.Logger.Error("outbox file is damaged: what can be read is salvaged, the file is set aside", "dir", o.dir, "file", s.name(), "error", s.sick)
	if s.active {
		o.retireLocked(s)
	}
	by := &seg{order: s.order, gen: s.gen + 1, level: s.level, touched: s.touched}
	v := &salvager{dir: o.dir, opt: &o.opt, seg: &o.segOpt, runs: s.runs, sure: true, epoch: o.epochOf}
	for i := range o.lane {
		v.head[i], v.done[i] = o.lane[i].head(), o.lane[i].settled()
	}
	o.closeSegLocked(s)
	var losses []loss
	if err := o.io(func() (err error) {
		losses, err = v.salvage(s, by)
		if err == nil {
			err = keepAside(o.segPath(s), o.opt.Now())
		}
		return err
	}); err != nil {
		return err
	}
	o.replaceLocked([]*seg{s}, by)
	o.learnLocked(v.epochs)
	o.missLocked(s, &v.found)
	o.recountLocked()
	for _, x := range losses {
		o.lossLocked(x.place, x.gap)
	}
	o.stats.SetAside = setAside(o.dir)
	o.opt.Logger.Error("outbox file was repaired", "dir", o.dir, "file", by.name(), "kept", v.kept, "gaps", len(losses))
	return o.commitControlLocked()
}

// epochOf is asked only about what is in memory: all runs of a file in use are.
func (o *Outbox) epochOf(uint32) uint64 { return newEpoch() }

// learnLocked takes over which run had which epoch.
func (o *Outbox) learnLocked(epochs map[uint32]uint64) {
	for run, epoch := range epochs {
		o.epochs[run], o.runs[epoch] = epoch, run
	}
}

// missLocked settles what was handed out of a segment and is lost.
func (o *Outbox) missLocked(s *seg, found *[lanes]spans) {
	for i := range o.lane {
		l, x := &o.lane[i], &s.lane[i]
		if x.messages == 0 {
			continue
		}
		for j := l.win.search(x.first); j < l.win.len() && l.win.at(j).place <= x.last; j++ {
			w := l.win.at(j)
			if !w.onDisk || found[i].has(w.place) {
				continue
			}
			switch w.state {
			case flying:
				o.flights--
			case released:
				l.back--
			case waiting, done:
			}
			l.win.finish(w)
			l.finish(w.place)
		}
		l.settle()
	}
}

// recountLocked counts anew what is queued.
func (o *Outbox) recountLocked() {
	for i := range o.lane {
		l := &o.lane[i]
		l.queued = tally{}
		for _, s := range o.segs {
			l.queued.add(o.liveLocked(s, Lane(i)))
		}
		for _, m := range l.staged.all() {
			if !m.gone && !m.written {
				l.queued.add(tally{1, uint64(len(m.body)), uint64(m.readings)})
			}
		}
	}
}

// liveLocked counts what is not done in a lane of a segment. Only one that is done in part is read for it.
func (o *Outbox) liveLocked(s *seg, lane Lane) (t tally) {
	l, x := &o.lane[lane], &s.lane[lane]
	if x.messages == 0 || x.last < l.head() {
		return t
	}
	settled := l.settled()
	if x.first >= l.head() && !settled.touches(x.first, x.last) {
		return x.tally
	}
	for at := max(x.first, l.head()); at <= x.last; {
		block, err := o.readLocked(s, lane, at)
		if err != nil || len(block) == 0 {
			return t // it was noted, and is counted again when it is mended
		}
		for _, r := range block {
			if r.Pos >= at && !settled.has(r.Pos) {
				t.add(tally{1, uint64(len(r.Body)), uint64(r.Readings)})
			}
		}
		at = block[len(block)-1].Pos + 1
	}
	return t
}
