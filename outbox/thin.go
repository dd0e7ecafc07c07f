package outbox

import (
	"log/slog"

	"iotagent/outbox/internal/segment"
)

// thinning is one pass of the Thinner over neighbouring segments.
type thinning struct {
	lanes [lanes]bool
	fn    Thinner
	log   *slog.Logger
}

const (
	// thinRun bounds what a Thinner is given at once, in messages and in bytes.
	thinRun      = 512
	thinRunBytes = 1 << 20
	// exhausted is the level of a segment that thinning no longer makes smaller.
	exhausted = 255
)

// thinnableLocked finds what to thin next, nil when there is room or nothing can be thinned: of the segments that were thinned least, the
// oldest, with the neighbours that are as thin, up to the size of one segment.
func (o *Outbox) thinnableLocked() []*seg {
	if o.opt.Thin == nil || o.diskLocked() <= o.limitLocked()/5*4 {
		return nil
	}
	at := -1
	for i, s := range o.segs {
		if s.level < exhausted && o.untouchedLocked(s) && (at < 0 || s.level < o.segs[at].level) {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	group, size := []*seg{o.segs[at]}, o.segs[at].disk
	for _, s := range o.segs[at+1:] {
		if size += s.disk; size > o.segBytes || s.level != group[0].level || !o.untouchedLocked(s) {
			break
		}
		group = append(group, s)
	}
	return group
}

// untouchedLocked says that a segment takes no more and that nothing of its normal and bulk messages was ever handed out.
func (o *Outbox) untouchedLocked(s *seg) bool {
	if s.active || s.sick != nil {
		return false
	}
	any := false
	for _, lane := range []Lane{Normal, Bulk} {
		x := &s.lane[lane]
		if x.messages == 0 {
			continue
		}
		if s.touched[lane] || s.touching[lane] || o.lane[lane].handed(x.first, x.last) {
			return false
		}
		any = true
	}
	return any
}

func (s spans) touches(from, to uint64) bool {
	for _, x := range s {
		if x.from <= to && x.to >= from {
			return true
		}
	}
	return false
}

// thinLocked makes neighbouring segments thinner. Nothing of them is handed out meanwhile.
func (o *Outbox) thinLocked(group []*seg) error {
	t := &thinning{fn: o.opt.Thin, log: o.opt.Logger}
	t.lanes[Normal], t.lanes[Bulk] = true, true
	for _, s := range group {
		s.busy = true
	}
	err := o.rewriteLocked(group, t)
	for _, s := range group {
		s.busy = false
	}
	o.signalLocked()
	return err
}

// thinnedLocked takes over what thinning made of a group.
func (o *Outbox) thinnedLocked(group []*seg, by *seg) {
	was := int64(0)
	for _, s := range group {
		was += s.disk
		for _, lane := range []Lane{Normal, Bulk} {
			o.lane[lane].queued.sub(s.lane[lane].tally)
			o.stats.Thinned[lane] += s.lane[lane].messages
		}
	}
	for _, lane := range []Lane{Normal, Bulk} {
		o.lane[lane].queued.add(by.lane[lane].tally)
		o.stats.Thinned[lane] -= by.lane[lane].messages
	}
	by.level++
	if by.disk > was/10*9 {
		by.level = exhausted
	}
}

// apply thins a run of records: those that are not durable, as far as their numbers follow each other, so that what stands for them can say
// from which to which.
func (t *thinning) apply(lane Lane, recs []segment.Record) []segment.Record {
	var out []segment.Record
	for len(recs) > 0 {
		n, size := 0, 0
		for n < len(recs) && n < thinRun && size < thinRunBytes && recs[n].Flags&flagDurable == 0 && (n == 0 || recs[n].Pos-recs[n].Span == recs[n-1].Pos+1) {
			size += len(recs[n].Body)
			n++
		}
		if n == 0 {
			out, recs = append(out, recs[0]), recs[1:]
			continue
		}
		out = append(out, t.shrink(lane, recs[:n])...)
		recs = recs[n:]
	}
	return out
}

func (t *thinning) shrink(lane Lane, recs []segment.Record) []segment.Record {
	bodies := make([][]byte, len(recs))
	for i := range recs {
		bodies[i] = recs[i].Body
	}
	thinned := t.fn(lane, bodies)
	total := 0
	for _, x := range thinned {
		if x.Messages < 1 || x.Body == nil && x.Messages != 1 {
			total = -1
			break
		}
		total += x.Messages
	}
	if total != len(recs) {
		t.log.Error("thinner left messages out: they stay as they are", "given", len(recs), "accounted", total)
		return recs
	}
	out := make([]segment.Record, 0, len(thinned))
	for _, x := range thinned {
		first, last := recs[0], recs[x.Messages-1]
		if x.Body != nil {
			last.Body, last.Readings, last.Flags = x.Body, uint32(max(x.Readings, 0)), last.Flags|flagThinned
			last.Span = last.Pos - first.Pos + first.Span
			last.Put = first.Put
		}
		out = append(out, last)
		recs = recs[x.Messages:]
	}
	return out
}
