package outbox

import (
	"errors"
	"path/filepath"

	"iotagent/outbox/internal/segment"
)

// rewriteLocked replaces neighbouring segments by one that holds what is not done of them, in the same places; thin, when set, may
// change what never was handed out. The old files go once the catalog names the new one.
func (o *Outbox) rewriteLocked(group []*seg, thin *thinning) error {
	w := &rewriter{o: o, thin: thin, segBytes: o.commitBytes}
	w.out = &seg{order: group[0].order, gen: group[0].gen + 1, level: group[0].level}
	for _, s := range group {
		w.level(s)
		w.in = append(w.in, o.segPath(s))
		w.last = append(w.last, s.lane)
	}
	for i := range o.lane {
		w.head[i], w.done[i] = o.lane[i].head(), o.lane[i].settled()
	}
	if err := o.io(w.run); err != nil {
		_ = w.out.close() // nothing of it is used
		err = errors.Join(err, removeIfThere(o.segPath(w.out)))
		if isDamage(err) {
			return o.blameLocked(group, w.reading, err)
		}
		return err
	}
	o.replaceLocked(group, w.out)
	if thin != nil {
		o.thinnedLocked(group, w.out)
	}
	return o.commitControlLocked()
}

func (o *Outbox) blameLocked(group []*seg, at int, err error) error {
	if at >= len(group) {
		return err
	}
	group[at].sick, o.sick = err, true
	return nil
}

// replaceLocked swaps the group for its successor.
func (o *Outbox) replaceLocked(group []*seg, by *seg) {
	at := 0
	for o.segs[at] != group[0] {
		at++
	}
	for _, s := range group {
		o.garbage = append(o.garbage, s.name())
		for i := range o.lane {
			o.lane[i].appended.sub(s.lane[i].tally)
		}
		o.closeSegLocked(s)
	}
	for i := range o.lane {
		o.lane[i].appended.add(by.lane[i].tally)
		o.lane[i].forget()
	}
	o.segs = append(o.segs[:at], append([]*seg{by}, o.segs[at+len(group):]...)...)
	o.segsChanged = true
}

// rewriter copies. It works without the lock, on files that take no appends.
type rewriter struct {
	o        *Outbox
	thin     *thinning
	segBytes int64
	in       []string
	last     [][lanes]segLane
	head     [lanes]uint64
	done     [lanes]spans
	out      *seg
	reading  int // the file that is being read

	epochs  map[uint32]uint64
	pending []segment.Record
	size    int64
}

func (w *rewriter) level(s *seg) {
	w.out.level = min(w.out.level, s.level)
	for i := range s.touched {
		w.out.touched[i] = w.out.touched[i] || s.touched[i]
	}
}

func (w *rewriter) run() error {
	path := w.o.segPath(w.out)
	if err := removeIfThere(path); err != nil { // of a try before a crash
		return err
	}
	files := make([]*segment.Segment, len(w.in))
	w.epochs = map[uint32]uint64{}
	for i, name := range w.in {
		w.reading = i
		f, err := segment.OpenReadOnly(name, &w.o.segOpt)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read from
		files[i] = f
		for _, r := range f.Summary().Runs {
			w.epochs[runOf(r.First)] = r.Epoch
		}
	}
	var err error
	if w.out.file, err = segment.Create(path, &w.o.segOpt); err != nil {
		w.reading = len(w.in)
		return err
	}
	for lane := range Lane(lanes) {
		for i, f := range files {
			w.reading = i
			if err := w.lane(f, lane, w.last[i][lane]); err != nil {
				return err
			}
		}
		w.reading = len(w.in)
		if err := w.flush(lane); err != nil {
			return err
		}
	}
	w.out.summarize(w.out.file.Summary().Runs)
	if err := w.out.file.Trim(); err != nil {
		return err
	}
	w.out.disk = w.out.file.DiskBytes()
	return w.out.close()
}

// lane copies one lane of one file.
func (w *rewriter) lane(f *segment.Segment, lane Lane, x segLane) error {
	if x.messages == 0 {
		return nil
	}
	for at := max(x.first, w.head[lane]); at <= x.last; {
		block, err := f.Read(uint8(lane), at)
		if err != nil || len(block) == 0 {
			return err
		}
		for _, r := range block {
			if r.Pos < at || r.Pos > x.last || w.done[lane].has(r.Pos) {
				continue
			}
			w.pending = append(w.pending, r)
			if w.size += int64(len(r.Body)) + overhead; w.size > w.segBytes {
				if err := w.flush(lane); err != nil {
					return err
				}
			}
		}
		at = block[len(block)-1].Pos + 1
	}
	return nil
}

func (w *rewriter) flush(lane Lane) error {
	if len(w.pending) == 0 {
		return nil
	}
	recs := w.pending
	if w.thin != nil && w.thin.lanes[lane] {
		recs = w.thin.apply(lane, recs)
	}
	var all [segment.Lanes][]segment.Record
	all[lane] = recs
	_, err := w.out.file.Append(&all, func(pos uint64) uint64 { return w.epochs[runOf(pos)] })
	w.pending, w.size = nil, 0
	return err
}

func (o *Outbox) segPath(s *seg) string { return filepath.Join(o.dir, s.name()) }
