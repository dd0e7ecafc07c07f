package outbox

import (
	"math"
	"time"

	"iotagent/outbox/internal/boltfile"
	"iotagent/outbox/internal/segment"
)

// picker gathers the entries of one Next.
type picker struct {
	o     *Outbox
	room  int
	bytes int
	out   []Entry
	full  bool
}

// Next hands out up to max entries of at most maxBytes together, always one if there is one: alarms first, then normal, then bulk
// ones; in a lane what was released first, then oldest first. With LiveFirst normal and bulk ones put after the last Mark go before all
// others of both lanes. Sent is true for what was handed out before, and for everything put in an
// earlier epoch, since nobody knows whether that was sent. Bodies are read as they are asked for: memory does not grow with the queue.
func (o *Outbox) Next(max, maxBytes int) ([]Entry, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, ErrClosed
	}
	if o.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	p := &picker{o: o, room: max, bytes: maxBytes, full: max <= 0}
	p.pick()
	return p.out, nil
}

// pick goes over the lanes by priority. What was put after the last Mark goes before the backlog of either lane; without one all is backlog.
func (p *picker) pick() {
	p.pass(Alarm, 0, math.MaxUint64)
	for _, lane := range []Lane{Normal, Bulk} {
		if l := &p.o.lane[lane]; l.mark > 0 {
			p.pass(lane, l.mark, math.MaxUint64)
		}
	}
	for _, lane := range []Lane{Normal, Bulk} {
		if l := &p.o.lane[lane]; l.mark > 0 {
			p.pass(lane, 0, l.mark)
		} else {
			p.pass(lane, 0, math.MaxUint64)
		}
	}
}

// pass hands out what stands between two places of a lane, the second not included.
func (p *picker) pass(lane Lane, from, end uint64) {
	if p.full {
		return
	}
	l := &p.o.lane[lane]
	p.released(lane, l, from, end)
	for !p.full {
		c := &l.cursor
		if from > 0 {
			c = l.fresh()
		}
		r, st, ok := p.o.frontLocked(lane, c, end)
		if !ok {
			return // what comes next cannot be read now; the writer wakes the reader
		}
		place := end
		switch {
		case r != nil:
			place = r.Pos
		case st != nil:
			place = st.place
		}
		if g := l.gapBetween(from, place); g != nil {
			if !p.gap(g) {
				return
			}
			continue
		}
		switch {
		case r != nil:
			p.disk(lane, c, r)
		case st == nil:
			if l.split() && c == &l.cursor {
				l.join()
			}
			return
		case st.group != nil && !st.group.told:
			return
		default:
			p.memory(lane, c, st)
		}
	}
}

// touchLocked makes sure that the catalog says the lane's messages may have been handed out, before they are: then they are never
// thinned, and the bytes under an id never change.
func (o *Outbox) touchLocked(s *seg, lane Lane) bool {
	if o.opt.Thin == nil || s.active || s.touched[lane] {
		return true
	}
	s.touching[lane], o.touchDue = true, true
	o.wake()
	return false
}

// readLocked returns the records of the block that holds a place, or of the next one. An error was noted: the writer deals with it.
func (o *Outbox) readLocked(s *seg, lane Lane, place uint64) ([]segment.Record, error) {
	block, err := o.tryReadLocked(s, lane, place)
	if err != nil {
		s.sick = err
		o.sick = true
		o.wake()
		return nil, err
	}
	for n := len(block); n > 0 && block[n-1].Pos > s.lane[lane].last; n-- {
		block = block[:n-1] // of a commit that failed
	}
	if n := len(block); n > 0 && block[n-1].Pos < place {
		return nil, nil
	}
	for i := range block {
		if o.epochs[runOf(block[i].Pos)] == 0 {
			s.sick, o.sick = boltfile.Damaged("%s: a message of an unknown run", s.name()), true
			o.wake()
			return nil, s.sick
		}
	}
	return block, nil
}

func (o *Outbox) tryReadLocked(s *seg, lane Lane, place uint64) ([]segment.Record, error) {
	if err := o.openLocked(s); err != nil {
		return nil, err
	}
	return s.file.Read(uint8(lane), place)
}

// maxOpen is how many segments are open at once, the active one included: each takes its map of the address space.
const maxOpen = 4

func (o *Outbox) openLocked(s *seg) error {
	o.tick++
	s.tick = o.tick
	if s.file != nil {
		return nil
	}
	f, err := segment.OpenReadOnly(o.segPath(s), &o.segOpt)
	if err != nil {
		return emptied(s, err)
	}
	s.file = f
	var open int
	var oldest *seg
	for _, x := range o.segs {
		if x.file != nil {
			open++
			if x != s && !x.active && (oldest == nil || x.tick < oldest.tick) {
				oldest = x
			}
		}
	}
	if open > maxOpen && oldest != nil {
		_ = oldest.close() // only read from
	}
	return nil
}

// gapBetween returns the first gap that stands at or behind one place and before another and is not handed out.
func (l *lane) gapBetween(from, to uint64) *gapEntry {
	for _, g := range l.gaps {
		if g.place >= to {
			break
		}
		if g.place >= from && g.state != flying {
			return g
		}
	}
	return nil
}

// gap hands a gap out, once it is on disk; while the disk does not work, at once.
func (p *picker) gap(g *gapEntry) bool {
	if g.fresh && p.o.degraded == "" {
		p.o.wake()
		return false
	}
	p.out = append(p.out, g.entry(g.sent || g.id.Epoch != p.o.epoch))
	g.state, g.sent, g.shut = flying, true, true
	p.o.gapFlight[g.id] = g
	p.count(0)
	return true
}

// disk hands out a record.
func (p *picker) disk(lane Lane, c *cursor, r *segment.Record) {
	if !p.fits(len(r.Body)) {
		return
	}
	l := &p.o.lane[lane]
	run := runOf(r.Pos)
	p.out = append(p.out, p.o.entry(lane, r, run != p.o.run))
	l.win.push(slot{place: r.Pos, size: uint32(len(r.Body)), readings: r.Readings, state: flying, onDisk: true})
	if l.split() && r.Span > 0 { // those it took the place of
		l.done = l.done.add(span{r.Pos - r.Span, r.Pos - 1})
	}
	c.next = r.Pos + 1
	c.used++
	p.o.flights++
	p.count(len(r.Body))
}

// memory hands out a staged message.
func (p *picker) memory(lane Lane, c *cursor, st *staged) {
	if !p.fits(len(st.body)) {
		return
	}
	p.out = append(p.out, p.o.stagedEntry(lane, st, false))
	st.flight = true
	p.o.lane[lane].win.push(slot{place: st.place, size: uint32(len(st.body)), readings: st.readings, state: flying, st: st})
	c.next = st.place + 1
	p.o.flights++
	p.count(len(st.body))
}

// released hands out again what was given back of what stands between two places.
func (p *picker) released(lane Lane, l *lane, from, end uint64) {
	if l.back == 0 {
		return
	}
	for i := l.win.search(from); i < l.win.len() && l.back > 0 && !p.full; i++ {
		s := l.win.at(i)
		if s.place >= end {
			break
		}
		if s.state != released {
			continue
		}
		var e Entry
		if s.st != nil {
			e = p.o.stagedEntry(lane, s.st, true)
		} else {
			r, ok := p.o.againLocked(lane, s.place)
			if !ok {
				p.full = true // in order, once it can be read
				return
			}
			if r == nil { // lost to damage since, and declared
				p.o.doneLocked(lane, s)
				continue
			}
			e = p.o.entry(lane, r, true)
		}
		if !p.fits(len(e.Body)) {
			break
		}
		p.out = append(p.out, e)
		s.state = flying
		l.back--
		p.o.flights++
		p.count(len(e.Body))
	}
	l.settle()
}

// againLocked reads a record a second time. It is nil when the segment does not hold it any more, ok false when it cannot be read now.
func (o *Outbox) againLocked(lane Lane, place uint64) (r *segment.Record, ok bool) {
	l := &o.lane[lane]
	block := l.again
	if len(block) == 0 || place < block[0].Pos || place > block[len(block)-1].Pos {
		s := o.segAtLocked(lane, place)
		if s == nil || s.lane[lane].first > place {
			return nil, true
		}
		if s.sick != nil || s.busy {
			return nil, false
		}
		var err error
		if block, err = o.readLocked(s, lane, place); err != nil {
			return nil, false
		}
		l.again = block
	}
	for i := range block {
		if block[i].Pos == place {
			return &block[i], true
		}
	}
	return nil, true
}

func (p *picker) fits(size int) bool {
	if len(p.out) > 0 && size > p.bytes {
		p.full = true
		return false
	}
	return true
}

func (p *picker) count(size int) {
	p.bytes -= size
	p.room--
	p.full = p.full || p.room <= 0
}

func (o *Outbox) entry(lane Lane, r *segment.Record, sent bool) Entry {
	seq := seqOf(r.Pos)
	return Entry{
		ID: ID{Epoch: o.epochs[runOf(r.Pos)], Lane: lane, Seq: seq}, First: seq - min(r.Span, seq-1),
		Body: r.Body[:len(r.Body):len(r.Body)], Readings: int(min(r.Readings, math.MaxInt32)), Sent: sent,
	}
}

func (o *Outbox) stagedEntry(lane Lane, st *staged, sent bool) Entry {
	seq := seqOf(st.place)
	return Entry{ID: ID{Epoch: o.epoch, Lane: lane, Seq: seq}, First: seq, Body: st.body, Readings: int(min(st.readings, math.MaxInt32)), Sent: sent}
}

func (o *Outbox) nowMillis() int64 { return o.opt.Now().UnixMilli() }

func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
