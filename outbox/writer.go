package outbox

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// run is the writer: the only goroutine that commits. It ends when the outbox is closed.
func (o *Outbox) run() {
	defer close(o.done)
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

// step commits until nothing is due and returns when the next thing will be.
func (o *Outbox) step() (wait time.Duration, stop bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	retrying, lastTry := false, false
	for {
		now := time.Now()
		force := o.closing || len(o.syncs) > 0
		if o.degraded != "" && !force && !retrying && now.Before(o.retryAt) {
			return o.retryAt.Sub(now), false
		}
		retrying = o.degraded != ""
		if wait, due := o.dueLocked(now, force); !due {
			o.answerLocked(nil)
			if o.closing {
				o.finishLocked(nil)
				return 0, true
			}
			return wait, false
		}
		if err := o.commitLocked(force); err != nil {
			retrying = false
			o.answerLocked(err)
			if o.closing && lastTry {
				o.finishLocked(err)
				return 0, true
			}
			lastTry = o.closing // the file was opened anew: once more
		}
	}
}

// dueLocked says whether to commit now, and when otherwise.
func (o *Outbox) dueLocked(now time.Time, force bool) (time.Duration, bool) {
	if o.fate != nil || o.degraded != "" || len(o.groups) > 0 || len(o.rejects) > 0 {
		return 0, true
	}
	if len(o.acked) == 0 {
		return idle, false
	}
	wait := o.firstAck.Add(ackDelay).Sub(now)
	return wait, force || wait <= 0 || len(o.acked) >= ackBatch
}

// commitLocked does one transaction, with the lock let go while the disk works.
func (o *Outbox) commitLocked(force bool) error {
	if o.fate != nil {
		_ = o.file.close() // what is in it is salvaged
		o.file = nil
		if isDamage(o.fate) {
			if err := o.repairLocked(o.fate); err != nil {
				o.degradeLocked(err)
				return err
			}
		}
		o.fate = nil
	}
	if o.file == nil || o.file.db.IsReadOnly() {
		if err := o.renewLocked(); err != nil {
			o.degradeLocked(err)
			return err
		}
	}
	b := o.planLocked(force)
	if o.fate == nil {
		return o.writeLocked(b)
	}
	o.undoLocked(b) // planning met damage: the next round repairs
	return nil
}

func (o *Outbox) writeLocked(b *batch) error {
	f := o.file
	o.mu.Unlock()
	err := f.apply(b)
	o.mu.Lock()
	switch {
	case err == nil:
		o.publishLocked(b)
	case isDamage(err):
		o.undoLocked(b)
		o.fate = err // repaired in the next round
	default:
		return o.failLocked(b, err)
	}
	return nil
}

func (o *Outbox) renewLocked() error {
	_ = o.file.close() // nothing is trusted that was written through it
	o.file = nil
	return o.reopenLocked()
}

// failLocked handles a commit that returned an error. It may have reached the disk all the same: the reopened file tells.
func (o *Outbox) failLocked(b *batch, cause error) error {
	err := o.renewLocked()
	if o.file == nil || o.st.serial != b.serial {
		o.undoLocked(b)
		o.degradeLocked(cause)
		return cause
	}
	b.after = o.st
	o.publishLocked(b)
	if err != nil {
		o.degradeLocked(err)
	}
	return err
}

// planLocked gathers the next transaction.
func (o *Outbox) planLocked(force bool) *batch {
	b := &batch{
		serial: o.st.serial + 1, epoch: o.epoch, rejects: slices.Clone(o.rejects),
		maxDead: uint64(max(o.opt.MaxDead, 1)), maxSize: uint64(max(o.opt.MaxDeadBytes, 1)),
	}
	for i := range o.lane {
		b.base[i], b.tail[i] = o.lane[i].base, o.st.lane[i].tail
	}
	if len(o.acked) >= ackBatch || len(o.acked) > 0 && (force || o.degraded != "" || time.Since(o.firstAck) >= ackDelay) {
		b.deletes = slices.Clone(o.acked)
	}
	if o.degraded != "" && len(b.deletes)+len(b.rejects) > 0 {
		return b // on a full disk deletes make the room that puts need
	}
	size := int64(0)
	for _, g := range o.groups {
		if len(b.groups) > 0 && size+g.bytes > commitBytes {
			break
		}
		size += g.bytes
		b.groups = append(b.groups, g)
		for _, s := range g.msgs {
			if !s.gone && !s.onDisk {
				b.puts = append(b.puts, put{rec: s.rec, s: s})
				o.reachLocked(b, s.rec.key)
			}
		}
	}
	o.fitLocked(b)
	return b
}

// reachLocked keeps the lane's tail in the batch at or after a position.
func (o *Outbox) reachLocked(b *batch, k key) {
	b.tail[k.lane] = max(b.tail[k.lane], k.pos)
}

// publishLocked makes the result of a commit visible.
func (o *Outbox) publishLocked(b *batch) {
	o.st = b.after
	o.stats.Commits++
	o.stats.WrittenBytes += b.written
	o.stats.DiskBytes = o.file.diskBytes()
	for _, k := range b.deletes {
		delete(o.items, k)
	}
	o.acked = o.acked[len(b.deletes):]
	o.rejects = slices.DeleteFunc(o.rejects, func(r *rejection) bool { return slices.Contains(b.rejects, r) })
	for _, r := range b.rejects {
		if o.items[r.key] == r.it {
			delete(o.items, r.key)
		}
		if !r.told {
			r.done <- nil
		}
	}
	for i := range b.puts {
		o.writtenLocked(b.puts[i].s, b.puts[i].rec.size())
	}
	o.publishDropsLocked(b)
	for _, g := range b.groups {
		g.written = true
		if !g.told {
			close(g.done)
		}
	}
	if len(o.acked) > 0 {
		o.firstAck = time.Now()
	}
	o.pruneLocked()
	if o.degraded != "" && (len(b.groups) > 0 || len(o.groups) == 0) {
		o.opt.Logger.Info("outbox disk works again", "still_in_memory", len(o.groups))
		o.degraded = ""
		o.retry.Reset()
	}
	o.signalLocked()
	o.signalRoomLocked()
}

func (o *Outbox) writtenLocked(s *staged, size int64) {
	k := s.rec.key
	l := &o.lane[k.lane]
	l.onDisk = max(l.onDisk, k.pos)
	if s.gone { // acked or rejected from memory while it was being written
		o.items[k] = &item{key: k, id: s.rec.id, state: leaving}
		o.acked = append(o.acked, k)
		return
	}
	s.onDisk = true
	s.rec.body = nil
	o.stagedBytes -= size
	switch {
	case s.it != nil:
		s.it.staged = nil
	case k.pos < l.next: // a gap behind it was handed out already
		o.giveBackLocked(&item{key: k, id: s.rec.id})
		slices.Sort(l.released)
	}
}

// undoLocked takes back what planLocked marked.
func (o *Outbox) undoLocked(b *batch) {
	o.undoDropsLocked(b)
	for i := range o.lane {
		slices.Sort(o.lane[i].released)
	}
}

// degradeLocked notes that the disk does not work, says so once, and lets everybody who waits for it go on.
func (o *Outbox) degradeLocked(err error) {
	if o.degraded == "" {
		o.opt.Logger.Error("outbox disk does not work: messages wait in memory only", "dir", o.dir, "error", err)
	}
	o.degraded = err.Error()
	o.retryAt = time.Now().Add(o.retry.Next())
	for _, g := range o.groups {
		o.tellLocked(g)
	}
	for _, r := range o.rejects {
		o.tellRejectLocked(r)
	}
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

// finishLocked ends the outbox.
func (o *Outbox) finishLocked(err error) {
	if n := o.ramOnlyLocked(); n > 0 {
		err = fmt.Errorf("outbox %s: %d messages are lost, they were only in memory: %w", o.dir, n, err)
	} else if err != nil {
		err = fmt.Errorf("outbox %s: %w", o.dir, err)
	}
	o.closed = true
	o.closeErr = errors.Join(err, o.file.close(), o.lock.Close())
	o.file = nil
	close(o.changed)
	close(o.room)
}

func (o *Outbox) ramOnlyLocked() uint64 {
	n := uint64(0)
	for _, l := range o.lane {
		for _, s := range l.staged {
			if !s.gone && !s.onDisk {
				n++
			}
		}
	}
	return n
}
