package outbox

import (
	"errors"
	"fmt"
	"time"

	"iotagent/outbox/internal/boltfile"
)

// write is the writer: the only goroutine that changes files once the outbox is open. It ends when the outbox is closed.
func (o *Outbox) write() {
	defer close(o.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-o.kick:
		case <-timer.C:
		}
		wait, stop := o.step()
		if stop {
			return
		}
		timer.Reset(wait)
	}
}

const idle = time.Hour

// step does what is due and returns when the next thing will be.
func (o *Outbox) step() (wait time.Duration, stop bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	tries := 0
	for {
		now := time.Now()
		force := o.closing || len(o.syncs) > 0
		if o.degraded != "" && now.Before(o.retryAt) && (!force || tries > 0) {
			if o.closing && tries > 1 {
				o.finishLocked(errors.New(o.degraded))
				return 0, true
			}
			if !o.closing {
				return o.sleepLocked(now, o.retryAt), false
			}
		}
		task, at := o.taskLocked(now, force)
		if task == nil {
			o.wellLocked()
			o.answerLocked(nil)
			if o.closing {
				o.finishLocked(o.cleanLocked())
				return 0, true
			}
			return o.sleepLocked(now, at), false
		}
		if err := task(); err != nil {
			tries++
			o.degradeLocked(err)
			o.answerLocked(err)
			if !o.loaded || o.control == nil || o.controlSick != nil || o.sick { // jobs come after that
				o.refuseJobsLocked(err)
			}
		}
	}
}

func (o *Outbox) sleepLocked(now, at time.Time) time.Duration {
	o.alarmAt = at
	return max(at.Sub(now), 0)
}

// taskLocked returns what to do now, nil when nothing is due before at. What comes first makes the later possible.
func (o *Outbox) taskLocked(now time.Time, force bool) (task func() error, at time.Time) {
	at = now.Add(idle)
	switch {
	case !o.loaded:
		return o.loadLocked, at
	case o.control == nil:
		return o.reopenControlLocked, at
	case o.controlSick != nil:
		return o.mendControlLocked, at
	case o.sick:
		return o.mendSegmentsLocked, at
	case len(o.jobs) > 0:
		return o.jobLocked, at
	}
	if o.controlDueLocked(now, force, &at) {
		return o.commitControlLocked, at
	}
	due := o.stageDueLocked(now, force, &at)
	tight := o.tightLocked()
	if due && !tight {
		return o.flushLocked, at
	}
	if group := o.thinnableLocked(); group != nil && !o.closing { // before anything is dropped
		return func() error { return o.thinLocked(group) }, at
	}
	if tight {
		return o.makeRoomLocked, at
	}
	return nil, at
}

// controlDueLocked says whether control.db must be written; if not, at is brought forward to when it must.
func (o *Outbox) controlDueLocked(now time.Time, force bool, at *time.Time) bool {
	if o.markerDue || o.touchDue || len(o.rejects) > 0 || o.gapsChanged || o.segsChanged || len(o.unearth) > 0 || o.acks >= ackBatch {
		return true
	}
	if o.acks == 0 {
		return false
	}
	due := o.firstAck.Add(ackDelay)
	if force || o.degraded != "" || !due.After(now) {
		return true
	}
	*at = earlier(*at, due)
	return false
}

// stageDueLocked says the same of what is staged.
func (o *Outbox) stageDueLocked(now time.Time, force bool, at *time.Time) bool {
	if o.stagedBytes == 0 {
		o.due = time.Time{}
		return false
	}
	if o.urgent > 0 || force || o.degraded != "" || o.stagedBytes > o.opt.MaxRAM/4 {
		return true
	}
	lead := o.leadLocked()
	if o.due.Add(-lead).After(now) {
		*at = earlier(*at, o.due.Add(-lead))
		return false
	}
	o.due = o.earliestLocked() // what made it due may have been acknowledged
	if o.due.IsZero() {
		return false
	}
	if due := o.due.Add(-lead); due.After(now) {
		*at = earlier(*at, due)
		return false
	}
	return true
}

// leadLocked is how long before its time a commit starts: a multiple of what commits took lately.
func (o *Outbox) leadLocked() time.Duration {
	return min(25*time.Millisecond+4*o.commitTime, o.opt.MaxLoss/4)
}

func (o *Outbox) earliestLocked() (due time.Time) {
	for i := range o.lane {
		for _, s := range o.lane[i].staged.all() {
			if !s.gone && !s.written && (due.IsZero() || s.due.Before(due)) {
				due = s.due
			}
		}
	}
	return due
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// io runs what works on the disk with the lock let go.
func (o *Outbox) io(fn func() error) error {
	o.mu.Unlock()
	defer o.mu.Lock()
	return fn()
}

// jobLocked runs what another goroutine asked the writer to do.
func (o *Outbox) jobLocked() error {
	j := o.jobs[0]
	o.jobs = o.jobs[1:]
	j.res <- j.do()
	return nil
}

// refuseJobsLocked answers those who wait for a job that cannot be begun.
func (o *Outbox) refuseJobsLocked(err error) {
	for _, j := range o.jobs {
		j.res <- fmt.Errorf("outbox %s: %w", o.dir, err)
	}
	o.jobs = nil
}

// degradeLocked notes that the disk does not work, says so once, and lets everybody who waits for it go on.
func (o *Outbox) degradeLocked(err error) {
	if o.degraded == "" {
		o.opt.Logger.Error("outbox disk does not work: messages wait in memory only", "dir", o.dir, "error", err)
	}
	o.degraded = err.Error()
	o.retryAt = time.Now().Add(o.retry.Next())
	for i := range o.lane {
		for _, s := range o.lane[i].staged.all() {
			if g := s.group; g != nil && !s.gone && !s.written {
				o.tellLocked(g)
			}
		}
	}
	for _, g := range o.marking {
		o.tellLocked(g)
	}
	for _, r := range o.rejects {
		o.tellRejectLocked(r)
	}
	o.signalLocked()
	o.signalRoomLocked()
}

// wellLocked notes that everything could be written.
func (o *Outbox) wellLocked() {
	if o.degraded == "" {
		return
	}
	o.opt.Logger.Info("outbox disk works again", "dir", o.dir)
	o.degraded = ""
	o.retry.Reset()
	o.signalLocked()
	o.signalRoomLocked()
}

func (o *Outbox) answerLocked(err error) {
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	for _, c := range o.syncs {
		c <- err
	}
	o.syncs = nil
}

// cleanLocked takes the unclean-stop marker away: everything is on disk.
func (o *Outbox) cleanLocked() error {
	if o.opt.ReadOnly || o.control == nil || o.marker == [lanes]bool{} && !o.markerOld {
		return nil
	}
	o.marker, o.clean = [lanes]bool{}, true
	return o.commitControlLocked()
}

// finishLocked ends the outbox.
func (o *Outbox) finishLocked(err error) {
	if n := o.ramOnlyLocked(); n > 0 {
		err = fmt.Errorf("outbox %s: %d messages are lost, they were only in memory: %w", o.dir, n, err)
	} else if err != nil {
		err = fmt.Errorf("outbox %s: %w", o.dir, err)
	}
	o.closed = true
	for _, s := range o.segs {
		err = errors.Join(err, s.close())
	}
	o.closeErr = errors.Join(err, o.control.close(), closeLock(o.lock))
	o.control = nil
	for _, r := range o.rejects {
		o.tellRejectLocked(r)
	}
	o.refuseJobsLocked(ErrClosed)
	close(o.changed)
	o.signalRoomLocked()
}

func (o *Outbox) ramOnlyLocked() (n uint64) {
	for i := range o.lane {
		for _, s := range o.lane[i].staged.all() {
			if !s.gone && !s.written {
				n++
			}
		}
	}
	return n
}

// tookLocked keeps track of how long commits take: the slowest lately counts.
func (o *Outbox) tookLocked(started time.Time, written uint64) {
	o.commitTime = max(time.Since(started), o.commitTime*4/5)
	o.stats.Commits++
	o.stats.WrittenBytes += written
}

func isDamage(err error) bool { return boltfile.IsDamage(err) }
