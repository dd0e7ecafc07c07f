package outbox

import (
	"context"
	"os"
	"slices"

	"iotagent/outbox/internal/boltfile"
	"iotagent/outbox/internal/segment"
)

// checkAll looks at control.db and every segment, and mends what is damaged when it is asked to.
func (o *Outbox) checkAll(ctx context.Context, repair bool) (r Report, err error) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return r, ErrClosed
	}
	segs := slices.Clone(o.segs)
	if repair {
		r.Files, o.mended = o.mended, nil // Open did it already
	}
	o.mu.Unlock()
	if repair && o.opt.ReadOnly {
		return r, ErrReadOnly
	}
	f, err := o.checkControl(ctx, repair)
	if err != nil {
		return r, err
	}
	r.Files = append(r.Files, f)
	for _, s := range segs {
		if err := context.Cause(ctx); err != nil {
			return r, err
		}
		f, ok, err := o.checkSegment(ctx, s, repair)
		if err != nil {
			return r, err
		}
		if ok {
			r.Files = append(r.Files, f)
		}
	}
	return r, nil
}

// still runs fn while no file changes: in the writer, or right here when there is none.
func (o *Outbox) still(ctx context.Context, fn func() error) error {
	if !o.opt.ReadOnly {
		return o.do(ctx, fn)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return fn()
}

func (o *Outbox) checkControl(ctx context.Context, repair bool) (f FileReport, err error) {
	f.Name = controlName
	err = o.still(ctx, func() error {
		if o.control == nil {
			return nil // an empty outbox, looked at
		}
		f.Bytes = o.control.diskBytes()
		verr := verifyFile(o.controlPath(), o.opt.OpenFile)
		if verr == nil {
			return nil
		}
		f.Problem = verr.Error()
		if repair {
			o.controlSick = verr
			f.Repaired = true
			return o.mendControlLocked()
		}
		return nil
	})
	return f, err
}

func (o *Outbox) checkSegment(ctx context.Context, s *seg, repair bool) (f FileReport, ok bool, err error) {
	o.mu.Lock()
	active, there, path := s.active, o.holdsLocked(s), o.segPath(s)
	f.Name, f.Bytes = s.name(), s.disk
	o.mu.Unlock()
	if !there {
		return f, false, nil
	}
	var problem error
	if active {
		err = o.still(ctx, func() error {
			problem = o.verifyOpenLocked(s)
			return nil
		})
	} else {
		problem = segment.VerifyFile(path)
	}
	if err != nil {
		return f, false, err
	}
	err = o.still(ctx, func() error {
		there = o.holdsLocked(s) // or drained meanwhile
		return o.reportLocked(s, &f, emptied(s, problem), repair)
	})
	return f, there, err
}

func (o *Outbox) verifyOpenLocked(s *seg) error {
	if _, err := os.Stat(o.segPath(s)); s.file == nil || err != nil { // removed under us
		return segment.VerifyFile(o.segPath(s))
	}
	return s.file.Verify()
}

// reportLocked counts what can be read, and mends.
func (o *Outbox) reportLocked(s *seg, f *FileReport, problem error, repair bool) error {
	if !o.holdsLocked(s) {
		return nil
	}
	sick, some := s.sick, o.sick
	for i := range o.lane {
		f.Messages += o.liveLocked(s, Lane(i)).messages
	}
	s.sick, o.sick = sick, some // looking mends nothing
	if problem == nil {
		return nil
	}
	f.Problem = problem.Error()
	if !repair {
		return nil
	}
	before := o.messagesLocked()
	s.sick = boltfile.Damaged("%w", problem)
	if err := o.mendLocked(s); err != nil {
		return err
	}
	f.Repaired = true
	f.Lost = before - min(before, o.messagesLocked())
	return nil
}

func (o *Outbox) messagesLocked() (n uint64) {
	for i := range o.lane {
		n += o.lane[i].queued.messages
	}
	return n
}
