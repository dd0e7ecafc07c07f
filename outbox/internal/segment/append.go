package segment

import (
	"encoding/binary"
	"errors"
	"fmt"

	berrors "go.etcd.io/bbolt/errors"

	"iotagent/outbox/internal/boltfile"
)

const (
	pieceLen = 650 // six fill a page
	keyLen   = blockKeyLen + 2

	// What bbolt puts around things (bbolt, internal/common): a page's header, an element, a bucket that is kept in its parent's page.
	pageHeader   = 16
	elementLen   = 16
	inlineBucket = 16 + pageHeader
	// inlineMost is how large a bucket may be to be kept in its parent's page.
	inlineMost = boltfile.PageSize / 4
	// tailPiece is what a bucket that is kept there can hold under one key of one byte.
	tailPiece = inlineMost - pageHeader - elementLen - len(keyTail)
)

// keyFirst reads the first place off a key.
func keyFirst(k []byte) uint64 { return binary.BigEndian.Uint64(k[1:]) }

// pieces is how much a finished block takes in its bucket.
func pieces(n int) int { return n + (n+pieceLen-1)/pieceLen*(elementLen+keyLen) }

// rootRoom is how much of the open blocks fits the root page beside the summary and a bucket of finished blocks of a size. It must
// never be too much: bbolt would split the page, and never join it again.
func rootRoom(summary, blocks int) int {
	const one = elementLen + inlineBucket + elementLen // a bucket of one key
	fixed := pageHeader +
		one + len("meta"+"format") + 8 + len(magic) +
		one + len(bucketSummary+keySummary) +
		elementLen + len(bucketBlocks) + 16 +
		4*(one+len("t0"+keyTail)) + 1 // bbolt wants a byte to be left
	if summary > inlineMost-pageHeader-elementLen-len(keySummary) {
		summary = 0 // it has a page of its own
	}
	if blocks > inlineMost {
		blocks = 0 // they have pages of their own
	}
	return max(0, boltfile.PageSize-fixed-summary-blocks)
}

// writer is what Append builds a commit in. Its buffers are kept for the next.
type writer struct {
	loaded bool // open goes on from the tails of the file
	open   [Lanes]builder
	spare  [Lanes][]byte // encoded open blocks, to become the tails
	next   [Lanes]tail
	sum    Summary
	sumEnc []byte
	blocks int // as in Segment
	out    []byte
	done   []span
	blob   []byte
}

// span is a finished block in the writer's output.
type span struct {
	lane     uint8
	first    uint64
	from, to int
}

// keepBytes bounds the buffers that are kept between commits.
const keepBytes = 256 << 10

// Append writes records in one transaction: all of them are durable, or none is. Places of a lane must rise over what is there. epochs
// names the run that a place belongs to; it is asked once for each new run. A call must stay below 2 MiB of bodies or be one record.
//
// After ErrFull the segment is as it was. After any other error that is not the caller's mistake it must be closed and opened again:
// what was to be written may be there or not.
func (s *Segment) Append(recs *[Lanes][]Record, epochs func(pos uint64) (epoch uint64)) (written uint64, err error) {
	s.appending.Lock()
	defer s.appending.Unlock()
	if len(recs[0])+len(recs[1])+len(recs[2]) == 0 {
		return 0, nil
	}
	w := &s.w
	if err := w.begin(s); err != nil {
		return 0, s.wrap(err)
	}
	defer w.trim()
	if err := w.count(recs, epochs); err != nil {
		return 0, s.wrap(err)
	}
	w.sumEnc = w.sum.append(w.sumEnc[:0])
	for lane := range recs {
		if len(recs[lane]) == 0 {
			w.next[lane] = tail{s.tail[lane].h, append(w.spare[lane][:0], s.tail[lane].enc...)}
			continue
		}
		w.fill(s.codec, uint8(lane), recs[lane])
	}
	w.close(s)
	if s.Used()+w.worst() > maxBytes {
		w.loaded = false
		return 0, s.wrap(ErrFull)
	}
	written, err = s.f.Update(w.touched(), w.commit)
	if err != nil {
		w.loaded = false
		if errors.Is(err, berrors.ErrMaxSizeReached) {
			err = errors.Join(ErrFull, err)
		}
		return 0, s.wrap(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum, w.sum = w.sum, s.sum
	s.blocks = min(w.blocks, inlineMost+1)
	for lane := range s.tail {
		w.spare[lane] = s.tail[lane].enc
		s.tail[lane] = w.next[lane]
	}
	return written, nil
}

func (s *Segment) wrap(err error) error { return fmt.Errorf("segment %s: %w", s.path, err) }

// begin goes on from what the file holds.
func (w *writer) begin(s *Segment) error {
	w.sum.Runs = append(w.sum.Runs[:0], s.sum.Runs...)
	w.out, w.done, w.blocks = w.out[:0], w.done[:0], s.blocks
	if w.loaded {
		return nil
	}
	for lane := range w.open {
		b, t := &w.open[lane], &s.tail[lane]
		b.reset(uint8(lane))
		if t.h.count > 0 {
			if err := b.load(s.codec, &t.h, t.enc); err != nil {
				return err
			}
		}
	}
	w.loaded = true
	return nil
}

// trim gives back what a large commit needed.
func (w *writer) trim() {
	if cap(w.out) > keepBytes {
		w.out = nil
	}
}

var errOrder = errors.New("places of a lane must rise")

// count brings the summary up to date.
func (w *writer) count(recs *[Lanes][]Record, epochs func(pos uint64) uint64) error {
	for lane := range uint8(Lanes) {
		var run *Run
		for i := range recs[lane] {
			r := &recs[lane][i]
			if run == nil {
				run = w.sum.open(lane)
			}
			if run != nil && r.Pos <= run.Last {
				return fmt.Errorf("%w: lane %d: %d after %d", errOrder, lane, r.Pos, run.Last)
			}
			if run == nil || r.Pos>>runShift != run.Last>>runShift {
				if run = w.sum.run(lane, r, epochs); run == nil {
					return ErrFull
				}
			}
			run.add(r)
		}
	}
	return nil
}

// fill puts records into the lane's open block, and finishes it each time it is full.
func (w *writer) fill(c *Codec, lane uint8, recs []Record) {
	b := &w.open[lane]
	for i := range recs {
		if !b.fits(&recs[i]) {
			w.finish(c, b)
		}
		b.add(&recs[i])
	}
	w.next[lane] = tail{enc: w.spare[lane][:0]}
	if b.size > blockRaw { // one huge record
		w.finish(c, b)
	}
	if b.h.count > 0 {
		w.next[lane].enc = c.appendBlock(w.spare[lane][:0], &b.h, b.raw())
		w.next[lane].h = b.h
	}
}

// finish encodes an open block as a finished one.
func (w *writer) finish(c *Codec, b *builder) {
	from := len(w.out)
	w.out = c.appendBlock(w.out, &b.h, b.raw())
	w.finished(b.h.lane, b.h.first, from)
	b.reset(b.h.lane)
}

// finished notes that the output holds a block from there on.
func (w *writer) finished(lane uint8, first uint64, from int) {
	w.done = append(w.done, span{lane, first, from, len(w.out)})
	w.blocks += pieces(len(w.out) - from)
}

// close finishes the largest open blocks until the rest fits.
func (w *writer) close(s *Segment) {
	for {
		limit := rootRoom(len(w.sumEnc), w.blocks)
		if s.limit > 0 {
			limit = min(limit, s.limit)
		}
		total, most := 0, 0
		for lane := range w.next {
			if w.next[lane].h.count == 0 {
				continue
			}
			total += blockKeyLen + len(w.next[lane].enc)
			if len(w.next[lane].enc) > len(w.next[most].enc) || w.next[most].h.count == 0 {
				most = lane
			}
		}
		if total <= limit {
			return
		}
		t, from := &w.next[most], len(w.out)
		w.out = append(w.out, t.enc...)
		w.finished(uint8(most), t.h.first, from)
		*t = tail{enc: t.enc[:0]}
		if cap(t.enc) > keepBytes {
			t.enc = nil
		}
		w.open[most].reset(uint8(most))
	}
}

// worst is how much the file can grow by: every piece in a page of half its size, pages of q's branches, and those that change always.
func (w *writer) worst() int64 { return 9*int64(len(w.out))/4 + 16*boltfile.PageSize }
