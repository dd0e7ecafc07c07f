package outbox

import (
	"slices"

	"go.etcd.io/bbolt"
)

// victim is a message that the quota forces out.
type victim struct {
	key      key
	id       ID
	readings uint32
	s        *staged // when it was not written yet
	back     bool    // it had been released: undo gives it back
}

// openGap is a gap that later losses right behind it may still join, because nobody has seen it.
type openGap struct {
	rec record
	gap Gap
}

// maxVictims bounds one transaction, when a quota was made much smaller.
const maxVictims = 10_000

const reasonQuota = "quota"

// fitLocked drops what the batch would put over the quota.
func (o *Outbox) fitLocked(b *batch) {
	over := o.sizeLocked(b) - o.opt.MaxBytes
	if over > 0 && len(b.deletes) < len(o.acked) {
		b.deletes = slices.Clone(o.acked)
		over = o.sizeLocked(b) - o.opt.MaxBytes
	}
	for _, l := range []Lane{Bulk, Normal, Alarm} {
		if over > 0 {
			over = o.dropDiskLocked(b, l, over)
		}
		if len(b.drops) >= maxVictims {
			break // the rest with the next commit
		}
		if over > 0 && o.fate == nil {
			over = o.dropStagedLocked(b, l, over)
		}
	}
	if len(b.drops) > 0 {
		b.puts = slices.DeleteFunc(b.puts, func(p put) bool { return p.s.gone })
		o.gapsLocked(b)
	}
}

// sizeLocked is what the file holds by the quota's measure once the batch is done. Acked entries count for a middling one each.
func (o *Outbox) sizeLocked(b *batch) int64 {
	size, count := int64(0), int64(0)
	for i := range o.st.lane {
		size += o.st.lane[i].accounted()
		count += int64(o.st.lane[i].count)
	}
	if count > 0 {
		size -= size / count * min(int64(len(b.deletes)+len(b.rejects)), count)
	}
	for i := range b.puts {
		size += b.puts[i].rec.size()
	}
	return size
}

// dropDiskLocked marks the oldest of a lane that can go and returns how much is still over.
func (o *Outbox) dropDiskLocked(b *batch, lane Lane, over int64) int64 {
	l := &o.lane[lane]
	err := o.file.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketQueue)).Cursor()
		for k, v := c.Seek(key{lane, l.dropFrom}.bytes()); k != nil && over > 0 && len(b.drops) < maxVictims; k, v = c.Next() {
			at, ok := parseKey(k)
			if !ok || at.lane != lane || at.pos > l.onDisk {
				break
			}
			it := o.items[at]
			if it != nil && it.state != released {
				continue
			}
			r, err := decode(k, v)
			if err != nil {
				return &damage{err}
			}
			if r.isGap() {
				continue
			}
			d := victim{key: at, id: r.id, readings: r.readings}
			if it == nil {
				o.items[at] = &item{key: at, id: r.id, state: leaving}
			} else {
				d.back, it.state = true, leaving
				l.released = slices.DeleteFunc(l.released, func(pos uint64) bool { return pos == at.pos })
			}
			b.drops = append(b.drops, d)
			over -= r.size()
		}
		return nil
	})
	o.noteLocked(err)
	return over
}

// dropStagedLocked does the same among what the batch was about to write.
func (o *Outbox) dropStagedLocked(b *batch, lane Lane, over int64) int64 {
	for i := range b.puts {
		s := b.puts[i].s
		if over <= 0 || s.rec.key.lane != lane || s.it != nil {
			continue
		}
		s.gone = true
		b.drops = append(b.drops, victim{key: s.rec.key, id: s.rec.id, readings: s.rec.readings, s: s})
		over -= s.rec.size()
	}
	return over
}

// gapsLocked makes a gap of each run of victims. Victims come lane by lane, oldest first.
func (o *Outbox) gapsLocked(b *batch) {
	var cur *gapPut
	for _, v := range b.drops {
		if cur == nil || !follows(&cur.gap, v.id) {
			o.closeGapLocked(b, cur)
			cur = o.beginGapLocked(v.id)
		}
		cur.gap.To = v.id.Seq
		cur.gap.Messages++
		cur.gap.Readings += uint64(v.readings)
		cur.rec.key = v.key
	}
	o.closeGapLocked(b, cur)
}

func (o *Outbox) closeGapLocked(b *batch, g *gapPut) {
	if g == nil {
		return
	}
	g.rec = gapRecord(g.rec.key, g.rec.id, g.gap, g.rec.put)
	o.reachLocked(b, g.rec.key)
	o.reachLocked(b, key{g.rec.id.Lane, o.lane[g.rec.id.Lane].base + g.rec.id.Seq})
	b.gaps = append(b.gaps, *g)
}

func follows(g *Gap, id ID) bool {
	return g.Reason == reasonQuota && g.Epoch == id.Epoch && g.Lane == id.Lane && g.To+1 == id.Seq
}

// beginGapLocked continues the lane's open gap, which moves, or starts one with an id of its own.
func (o *Outbox) beginGapLocked(first ID) *gapPut {
	l := &o.lane[first.Lane]
	if old := l.gap; old != nil && follows(&old.gap, first) {
		at := old.rec.key
		it := o.items[at]
		if it == nil {
			it = &item{key: at, id: old.rec.id}
			o.items[at] = it
		}
		it.state = leaving // so that Next does not show it while it grows
		l.released = slices.DeleteFunc(l.released, func(pos uint64) bool { return pos == at.pos })
		return &gapPut{rec: old.rec, gap: old.gap, moved: &at}
	}
	return &gapPut{
		rec: record{id: o.gapIDLocked(first.Lane), put: o.opt.Now().UnixNano()},
		gap: Gap{Epoch: first.Epoch, Lane: first.Lane, From: first.Seq, Reason: reasonQuota},
	}
}

// gapIDLocked draws the id of a new gap: it uses up a sequence number of the present epoch like any message.
func (o *Outbox) gapIDLocked(lane Lane) ID {
	l := &o.lane[lane]
	var pos uint64
	if len(l.spare) > 0 {
		pos, l.spare = l.spare[0], l.spare[1:]
	} else {
		l.tail++
		pos = l.tail
	}
	return ID{Epoch: o.epoch, Lane: lane, Seq: pos - l.base}
}

// sealLocked ends the growth of a gap: it is being handed out, and what was sent under an id never changes.
func (o *Outbox) sealLocked(at key) {
	if l := &o.lane[at.lane]; l.gap != nil && l.gap.rec.key == at {
		l.gap = nil
	}
}

func (o *Outbox) publishDropsLocked(b *batch) {
	for _, v := range b.drops {
		l := &o.lane[v.key.lane]
		o.stats.Dropped[v.key.lane]++
		if v.s != nil {
			o.stagedBytes -= v.s.rec.size()
			v.s.rec.body = nil
			l.onDisk = max(l.onDisk, v.key.pos)
		} else {
			delete(o.items, v.key)
			l.dropFrom = max(l.dropFrom, v.key.pos)
		}
	}
	for i := range b.gaps {
		g := &b.gaps[i]
		l := &o.lane[g.rec.key.lane]
		if g.moved != nil {
			delete(o.items, *g.moved)
		}
		l.gap = &openGap{rec: g.rec, gap: g.gap}
		if g.rec.key.pos < l.next {
			o.giveBackLocked(&item{key: g.rec.key, id: g.rec.id})
		}
		slices.Sort(l.released)
	}
}

func (o *Outbox) undoDropsLocked(b *batch) {
	for _, v := range b.drops {
		l := &o.lane[v.key.lane]
		switch it := o.items[v.key]; {
		case v.s != nil:
			v.s.gone = false
		case it == nil: // the batch was planned on a file that is no more
		case v.back || v.key.pos < l.next:
			o.giveBackLocked(it)
		default:
			delete(o.items, v.key)
		}
	}
	for i := range b.gaps {
		g := &b.gaps[i]
		l := &o.lane[g.rec.key.lane]
		if g.moved == nil {
			l.spare = append(l.spare, l.base+g.rec.id.Seq)
			continue
		}
		if it := o.items[*g.moved]; it != nil {
			delete(o.items, *g.moved)
			if g.moved.pos < l.next {
				o.giveBackLocked(it)
			}
		}
	}
}
