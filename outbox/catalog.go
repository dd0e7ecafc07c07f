package outbox

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"iotagent/outbox/internal/segment"
)

// seg is one segment file as the outbox knows it. Fields are guarded by the outbox's lock.
type seg struct {
	order uint64 // rises with each new segment; its key in the catalog
	gen   uint32 // rises each time the file is written anew
	runs  []segment.Run
	lane  [lanes]segLane
	level uint8 // how often it was thinned
	// touched says that messages of the lane may have been handed out: they are never thinned.
	touched [lanes]bool
	// touching asks the writer to note that.
	touching [lanes]bool
	active   bool // takes appends; at most one, the last

	file      *segment.Segment // nil while not open
	tick      uint64           // when it was used last
	disk      int64            // bytes it takes on the disk
	reserved  int64            // bytes the file system has set aside
	stranger  bool             // no catalog named it
	inherited bool             // it took appends in an earlier life
	sick      error            // damage that a read met: the writer repairs it
	busy      bool             // being thinned: nothing of it is handed out
}

// segLane sums up the runs of a lane. first and last are places; 0 where it holds none.
type segLane struct {
	first, last uint64
	tally
	oldest, newest int64 // put times in ms
}

const segSuffix = ".seg"

func segName(order uint64, gen uint32) string {
	if gen == 0 {
		return fmt.Sprintf("%012d%s", order, segSuffix)
	}
	return fmt.Sprintf("%012d.%d%s", order, gen, segSuffix)
}

func (s *seg) name() string { return segName(s.order, s.gen) }

// parseSegName is segName's inverse.
func parseSegName(name string) (order uint64, gen uint32, ok bool) {
	stem, ok := strings.CutSuffix(filepath.Base(name), segSuffix)
	if !ok {
		return 0, 0, false
	}
	first, second, _ := strings.Cut(stem, ".")
	order, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if second != "" {
		g, err := strconv.ParseUint(second, 10, 32)
		if err != nil {
			return 0, 0, false
		}
		gen = uint32(g)
	}
	return order, gen, segName(order, gen) == filepath.Base(name)
}

// summarize takes over what the file says it holds.
func (s *seg) summarize(runs []segment.Run) {
	s.runs = runs
	s.lane = [lanes]segLane{}
	for i := range runs {
		r := &runs[i]
		if r.Lane >= lanes || r.Count == 0 {
			continue
		}
		l := &s.lane[r.Lane]
		if l.messages == 0 {
			l.first, l.oldest = r.First, r.Oldest
		}
		l.first, l.last = min(l.first, r.First), max(l.last, r.Last)
		l.oldest, l.newest = min(l.oldest, r.Oldest), max(l.newest, r.Newest)
		l.add(tally{messages: r.Count, bytes: r.Bytes, readings: r.Readings})
	}
}

const catalogVersion = 1

// encode returns the catalog's value. That of the active segment says which runs there are; what they hold changes with every append.
func (s *seg) encode() []byte {
	flags := uint64(0)
	if s.active {
		flags |= 1
	}
	for i, on := range s.touched {
		if on || s.touching[i] {
			flags |= 2 << i
		}
	}
	b := appendNumbers(nil, uint64(s.gen), flags, uint64(s.level), uint64(len(s.runs)))
	for i := range s.runs {
		r := &s.runs[i]
		b = appendNumbers(b, uint64(r.Lane), r.Epoch, r.First, r.Last-r.First, r.Count, r.Readings, r.Bytes)
		b = binary.AppendVarint(b, r.Oldest)
		b = binary.AppendVarint(b, r.Newest-r.Oldest)
	}
	return seal(catalogVersion, bigEndian(s.order), b)
}

func decodeSeg(k, v []byte) (*seg, error) {
	body, err := unseal(catalogVersion, k, v)
	if err != nil || len(k) != 8 {
		return nil, fmt.Errorf("catalog entry %x: %w", k, errSeal)
	}
	r := numbers{rest: body}
	s := &seg{order: binary.BigEndian.Uint64(k), gen: uint32(r.next())}
	flags := r.next()
	s.active = flags&1 != 0
	for i := range s.touched {
		s.touched[i] = flags&(2<<i) != 0
	}
	s.level = uint8(r.next())
	var runs []segment.Run
	for range r.count(9) {
		x := segment.Run{Lane: uint8(r.next()), Epoch: r.next(), First: r.next()}
		x.Last = x.First + r.next()
		r.into(&x.Count, &x.Readings, &x.Bytes)
		x.Oldest = r.signed()
		x.Newest = x.Oldest + r.signed()
		runs = append(runs, x)
	}
	if r.bad || len(r.rest) > 0 {
		return nil, fmt.Errorf("catalog entry %x: %w", k, errSeal)
	}
	s.summarize(runs)
	return s, nil
}

func (r *numbers) signed() int64 {
	n, k := binary.Varint(r.rest)
	if k <= 0 || r.bad {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[k:]
	return n
}
