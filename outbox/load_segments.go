package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"iotagent/outbox/internal/boltfile"
	"iotagent/outbox/internal/segment"
)

// openActive asks the files that took appends what they hold. Only the last one takes more.
func (l *loader) openActive() error {
	unmade, bad := map[*seg]bool{}, map[*seg]error{}
	for i, s := range l.d.segs {
		if !s.active {
			continue
		}
		s.inherited = true
		err := l.openSegment(s, l.appends(i) && !l.opt.ReadOnly)
		switch none := errors.Is(err, fs.ErrNotExist); {
		case err == nil:
		case l.opt.ReadOnly && isDamage(err):
			s.sick = err // the catalog says what it held at least
		case l.opt.ReadOnly && none:
			unmade[s] = true // it was being made
		case isDamage(err) || none:
			bad[s] = err // mended when the sound ones were asked
		default:
			return fmt.Errorf("%s: %w", s.name(), err)
		}
	}
	held := false
	for i, s := range l.d.segs {
		if err := bad[s]; err != nil {
			if err := l.mend(i, err); err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
			s = l.d.segs[i]
		}
		if !s.active {
			continue
		}
		held = held || len(s.runs) > 0
		l.d.recount = l.d.recount || s.stranger && len(s.runs) > 0
		if !l.appends(i) || s.file == nil {
			s.active = false
			s.touched = [lanes]bool{true, true, true}
		}
	}
	if l.lost && (held || len(l.d.losses) > 0) { // before a segment takes anything the state is written: it was there
		l.d.losses = append(l.d.losses, nobodyKnows())
	}
	l.d.segs = slices.DeleteFunc(l.d.segs, func(s *seg) bool { return unmade[s] })
	return nil
}

// appends says that a segment may take more.
func (l *loader) appends(i int) bool { return i == len(l.d.segs)-1 && !l.looking }

func (l *loader) openSegment(s *seg, writable bool) (err error) {
	path := filepath.Join(l.dir, s.name())
	if writable {
		s.file, err = segment.Open(path, l.seg)
	} else {
		s.file, err = segment.OpenReadOnly(path, l.seg)
	}
	if err != nil {
		s.file = nil
		return emptied(s, err)
	}
	if s.file.Fresh() && !s.stranger {
		return errors.Join(emptied(s, fs.ErrNotExist), s.close())
	}
	s.summarize(s.file.Summary().Runs)
	return nil
}

// emptied says that a file which the catalog names, and which was never finished, is damaged: it was whole before it was named.
func emptied(s *seg, err error) error {
	if errors.Is(err, fs.ErrNotExist) && !s.stranger {
		return boltfile.Damaged("it was emptied or removed: %w", err)
	}
	return err
}

// mend replaces a damaged file that took appends.
func (l *loader) mend(i int, cause error) error {
	s := l.d.segs[i]
	by := &seg{order: s.order, gen: s.gen + 1, active: true, inherited: true}
	v := l.salvager(s)
	losses, err := v.salvage(s, by)
	if err != nil {
		return err
	}
	l.d.stray = append(l.d.stray, s.name())
	if s.stranger && v.kept == 0 && len(v.runs) == 0 { // it was being made when the process died, and held nothing yet
		l.d.segs[i] = by
		return nil
	}
	l.opt.Logger.Error("outbox file is damaged: what can be read is salvaged, the file is set aside", "dir", l.dir, "file", s.name(), "error", cause)
	if err := keepAside(filepath.Join(l.dir, s.name()), l.opt.Now()); err != nil {
		return err
	}
	l.opt.Logger.Error("outbox file was repaired", "dir", l.dir, "file", by.name(), "kept", v.kept, "gaps", len(losses))
	l.d.segs[i], l.d.recount = by, true
	l.d.losses = append(l.d.losses, losses...)
	f := FileReport{Name: s.name(), Bytes: s.disk, Messages: v.kept, Problem: cause.Error(), Repaired: true, AtMost: !v.sure}
	for _, x := range losses {
		f.Lost += x.gap.Messages
	}
	l.d.mended = append(l.d.mended, f)
	return nil
}

// overlaps cuts what a commit that failed left at the end of a file: the same messages stand in the next one.
func (l *loader) overlaps() error {
	for lane := range lanes {
		after := uint64(0)
		for i := len(l.d.segs) - 1; i >= 0; i-- {
			x := &l.d.segs[i].lane[lane]
			if x.messages == 0 {
				continue
			}
			if after != 0 && x.last >= after {
				x.last = after - 1
				l.d.recount = true
			}
			if x.first > x.last {
				*x = segLane{}
				continue
			}
			after = x.first
		}
	}
	return nil
}
