package outbox

import (
	"errors"
	"time"

	"iotagent/outbox/internal/segment"
)

// flushLocked writes what is staged, oldest first, in one commit; what does not fit one waits for the next.
func (o *Outbox) flushLocked() error {
	s := o.activeLocked()
	if s == nil || s.file.Used() > o.segBytes {
		if err := o.rollLocked(); err != nil {
			return err
		}
		s = o.activeLocked()
	}
	o.reserveLocked(s)
	recs, batch := o.planLocked()
	if len(batch) == 0 {
		return nil
	}
	started, epoch := time.Now(), o.epoch
	o.writing = true
	var written uint64
	err := o.io(func() (err error) {
		written, err = s.file.Append(recs, func(uint64) uint64 { return epoch })
		return err
	})
	o.writing = false
	switch {
	case err == nil:
		o.publishLocked(s, batch)
		o.tookLocked(started, written)
		return nil
	case errors.Is(err, segment.ErrFull):
		return o.rollLocked() // the next round writes to the new one
	}
	// What a commit that failed left in the file is not known, and an fsync that failed is never trusted: the file takes no more, and only
	// what was committed before is read from it, from the disk.
	o.retireLocked(s)
	if isDamage(err) {
		s.sick, o.sick = err, true
	}
	o.closeSegLocked(s)
	if isDamage(err) {
		return nil
	}
	return err
}

// planLocked gathers what is staged: all lanes, so that the next commit is a whole interval away.
func (o *Outbox) planLocked() (*[segment.Lanes][]segment.Record, []*staged) {
	recs := new([segment.Lanes][]segment.Record)
	var batch []*staged
	size := int64(0)
	for i := range o.lane {
		for _, s := range o.lane[i].staged.all() {
			if s.gone || s.written {
				continue
			}
			if size += s.size(); size > o.commitBytes && len(batch) > 0 {
				return recs, batch
			}
			recs[i] = append(recs[i], segment.Record{Pos: s.place, Put: s.put, Flags: s.flags, Readings: s.readings, Body: s.body})
			batch = append(batch, s)
		}
	}
	return recs, batch
}

// publishLocked makes the result of a commit visible.
func (o *Outbox) publishLocked(s *seg, batch []*staged) {
	before, runs := s.lane, len(s.runs)
	s.summarize(s.file.Summary().Runs)
	s.disk = s.file.DiskBytes()
	if len(s.runs) != runs && s.inherited { // whatever happens to the file, its epochs stay known
		o.segsChanged = true
	}
	for i := range o.lane {
		t := s.lane[i].tally
		t.sub(before[i].tally)
		o.lane[i].appended.add(t)
	}
	for _, m := range batch {
		l := &o.lane[m.lane]
		l.flushed = max(l.flushed, m.place)
		if m.flight {
			if x := l.win.find(m.place); x != nil {
				x.onDisk, x.st = true, nil
			}
		}
		if m.gone { // acknowledged, refused or dropped while it was being written
			l.finish(m.place)
			o.ackedLocked(1)
			continue
		}
		o.unstageLocked(m)
		m.written = true
	}
	for i := range o.lane {
		o.lane[i].staged.prune()
	}
	o.signalLocked()
	o.signalRoomLocked()
}

func (o *Outbox) activeLocked() *seg {
	if n := len(o.segs); n > 0 && o.segs[n-1].active && o.segs[n-1].file != nil {
		return o.segs[n-1]
	}
	return nil
}

// rollLocked begins a new segment. It is in the catalog before it takes the first message.
func (o *Outbox) rollLocked() error {
	if old := o.activeLocked(); old != nil {
		o.retireLocked(old)
		if err := o.io(old.file.Trim); err != nil {
			o.opt.Logger.Debug("segment keeps what was reserved for it", "error", err)
		}
		old.disk = old.file.DiskBytes()
		o.closeSegLocked(old)
	}
	o.order++
	s := &seg{order: o.order, active: true}
	for i := range o.lane { // with the runs that it will hold, so that its epochs are known whatever happens to it
		s.runs = append(s.runs, segment.Run{Lane: uint8(i), Epoch: o.epoch, First: placeOf(o.run, 0), Last: placeOf(o.run, 0)})
	}
	err := o.io(func() (err error) {
		s.file, err = segment.Create(o.segPath(s), &o.segOpt)
		return err
	})
	if err != nil {
		o.order-- // whatever is there of it is thrown away
		return errors.Join(err, o.io(func() error { return removeIfThere(o.segPath(s)) }))
	}
	s.disk = s.file.DiskBytes()
	o.segs = append(o.segs, s)
	o.segsChanged = true
	return o.commitControlLocked()
}

// retireLocked takes a segment out of use for appends.
func (o *Outbox) retireLocked(s *seg) {
	s.active, o.segsChanged = false, true
	for i := range s.touched {
		x := &s.lane[i]
		s.touched[i] = x.messages > 0 && (s.inherited || o.lane[i].handed(x.first, x.last))
	}
}

// reserveLocked has the file system set space aside for a segment that grows: growing by itself costs it more writes, as does
// anything that changes how large the file is.
func (o *Outbox) reserveLocked(s *seg) {
	used := s.file.Used()
	step := min(reserveStep, o.segBytes/4)
	if s.reserved == 0 {
		step = min(2*smallActive, o.segBytes/4) // a short outage needs no more
	}
	if used+step/4 < s.reserved || o.diskLocked()+step > o.targetLocked() {
		return
	}
	s.reserved = used + step
	_ = o.io(func() error { return s.file.Reserve(step) }) // without it the file grows as it goes
	s.disk = s.file.DiskBytes()
}

const (
	smallActive int64 = 64 << 10 // an active segment that holds nothing stays while it is not larger
	reserveStep int64 = 256 << 10
)

// closeSegLocked lets a segment's file go. Nobody reads it meanwhile: reads hold the lock.
func (o *Outbox) closeSegLocked(s *seg) {
	if err := s.close(); err != nil {
		o.opt.Logger.Debug("segment not closed", "segment", s.name(), "error", err)
	}
	for i := range o.lane {
		o.lane[i].forget()
	}
}

func (s *seg) close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}
