package outbox

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"iotagent/outbox/internal/segment"
)

// loss is a gap to declare, behind a place.
type loss struct {
	place uint64
	gap   Gap
}

// salvager copies what can be read of a damaged segment into its successor and finds out what is missing.
type salvager struct {
	dir string
	opt *Options
	seg *segment.Options

	runs  []segment.Run // what it held, as far as is known
	sure  bool          // runs says it exactly
	bare  bool          // no catalog tells which runs there are
	stale bool          // more may be done than head and done say
	prev  [lanes]uint64 // the last place in older segments
	head  [lanes]uint64 // what is done needs no declaring
	done  [lanes]spans
	epoch func(run uint32) uint64 // of runs that the file does not know

	found   [lanes]spans
	latest  [lanes]uint64 // the last place that is known of
	counts  map[runKey]tally
	pending [segment.Lanes][]segment.Record
	size    int64
	out     *segment.Segment
	epochs  map[uint32]uint64
	kept    uint64
}

type runKey struct {
	lane Lane
	run  uint32
}

// salvage makes the successor of a segment. Its file is complete and synced on return, and not in any catalog yet.
func (s *salvager) salvage(old, by *seg) (losses []loss, err error) {
	from, to := filepath.Join(s.dir, old.name()), filepath.Join(s.dir, by.name())
	if err := removeIfThere(to); err != nil {
		return nil, err
	}
	s.counts, s.epochs = map[runKey]tally{}, map[uint32]uint64{}
	if err := s.learn(from); err != nil {
		return nil, err
	}
	if s.out, err = segment.Create(to, s.seg); err != nil {
		return nil, err
	}
	_, _, err = segment.Salvage(from, s.seg, s.keep)
	if errors.Is(err, fs.ErrNotExist) { // removed by somebody: then all is lost
		err = nil
	}
	if err = errors.Join(err, s.flush()); err == nil {
		by.summarize(s.out.Summary().Runs)
		err = s.out.Trim()
		by.disk = s.out.DiskBytes()
	}
	if err = errors.Join(err, s.out.Close()); err != nil {
		return nil, errors.Join(err, removeIfThere(to))
	}
	return s.losses(), nil
}

// learn reads the summary and the epochs.
func (s *salvager) learn(path string) error {
	sum, epochs, err := segment.Salvage(path, s.seg, func(uint8, segment.Record) error { return nil })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.bare = len(s.runs) == 0
	if sum != nil && !s.sure {
		s.runs, s.sure = newest(s.runs, sum.Runs), !sum.Stale
	}
	for i := range s.runs {
		s.know(&s.runs[i])
	}
	for place, e := range epochs {
		s.epochs[runOf(place)] = e
	}
	return nil
}

// newest joins what two sources know of the runs of a file that only grew.
func newest(a, b []segment.Run) []segment.Run {
	out := slices.Clone(a)
	for _, r := range b {
		at := slices.IndexFunc(out, func(x segment.Run) bool { return x.Lane == r.Lane && runOf(x.First) == runOf(r.First) })
		if at < 0 {
			out = append(out, r)
		} else if r.Count > out[at].Count {
			out[at] = r
		}
	}
	return out
}

// know takes over what is known of a run that may be lost.
func (s *salvager) know(r *segment.Run) {
	s.epochs[runOf(r.First)] = r.Epoch
	if r.Lane < lanes {
		s.latest[r.Lane] = max(s.latest[r.Lane], r.Last)
	}
}

func (s *salvager) keep(lane uint8, r segment.Record) error {
	if lane >= lanes || s.beyond(lane, r.Pos) {
		return nil
	}
	run := runOf(r.Pos)
	if s.epochs[run] == 0 {
		s.epochs[run] = s.epoch(run)
	}
	s.kept++
	s.found[lane] = s.found[lane].add(span{r.Pos, r.Pos})
	k := runKey{Lane(lane), run}
	t := s.counts[k]
	t.add(tally{1, uint64(len(r.Body)), uint64(r.Readings)})
	s.counts[k] = t
	s.pending[lane] = append(s.pending[lane], r)
	if s.size += int64(len(r.Body)) + overhead; s.size > 1<<20 {
		return s.flush()
	}
	return nil
}

// beyond says that a record is of a commit that failed.
func (s *salvager) beyond(lane uint8, place uint64) bool {
	if !s.sure {
		return false
	}
	for _, r := range s.runs {
		if r.Lane == lane && place >= r.First && place <= r.Last {
			return false
		}
	}
	return true
}

func (s *salvager) flush() error {
	if s.size == 0 {
		return nil
	}
	_, err := s.out.Append(&s.pending, func(pos uint64) uint64 { return s.epochs[runOf(pos)] })
	s.pending, s.size = [segment.Lanes][]segment.Record{}, 0
	return err
}

// losses compares what was found with what the segment held.
func (s *salvager) losses() (out []loss) {
	if len(s.runs) == 0 || !s.sure {
		s.reach()
		out = append(out, s.unknown()...)
	}
	for i := range s.runs {
		if r := &s.runs[i]; r.Lane < lanes && seqOf(r.First) > 0 {
			out = append(out, s.missing(r)...)
		}
	}
	return out
}

// reach makes the runs hold what was found at least.
func (s *salvager) reach() {
	for lane := range uint8(lanes) {
		for _, x := range s.found[lane] {
			s.runs = newest(s.runs, []segment.Run{{Lane: lane, Epoch: s.epochs[runOf(x.from)], First: x.from, Last: x.to}})
			at := slices.IndexFunc(s.runs, func(r segment.Run) bool { return r.Lane == lane && runOf(r.First) == runOf(x.from) })
			r := &s.runs[at]
			if first := s.start(lane, x.from); seqOf(r.First) == 0 || first < r.First { // where it begins was not known
				r.First = first
			}
			r.Last = max(r.Last, x.to)
		}
	}
}

// start is the place right behind the older segments, in the run of a place.
func (s *salvager) start(lane uint8, place uint64) uint64 {
	return min(place, max(placeOf(runOf(place), 1), s.prev[lane]+1))
}

// unknown declares that nobody knows what else the file held, in each lane that it is known to have held anything of.
func (s *salvager) unknown() (out []loss) {
	for i := range s.found {
		place := s.latest[i]
		if n := len(s.found[i]); n > 0 {
			place = max(place, s.found[i][n-1].to)
		}
		if place != 0 && seqOf(place) == 0 { // that there is a run is all that is known
			place = s.start(uint8(i), place+1<<(seqBits-1)) - 1
		}
		if place != 0 {
			g := Gap{Epoch: s.epochs[runOf(place)], Lane: Lane(i), From: seqOf(place) + 1, AtMost: true, Reason: reasonDamage}
			out = append(out, loss{place, g})
		}
	}
	if len(out) == 0 || s.bare {
		out = append(out, nobodyKnows())
	}
	return out
}

// nobodyKnows is the loss of what cannot be told.
func nobodyKnows() loss { return loss{gap: Gap{Lane: Normal, AtMost: true, Reason: reasonDamage}} }

// maxHoles bounds the gaps of one run; more are declared as one.
const maxHoles = 8

// missing declares what is lost of one run. Sequence numbers that were never written look like holes too: then only the count is exact.
func (s *salvager) missing(r *segment.Run) []loss {
	lane := Lane(r.Lane)
	got := s.counts[runKey{lane, runOf(r.First)}]
	lost := r.Count - min(r.Count, got.messages)
	readings := r.Readings - min(r.Readings, got.readings)
	holes := s.holes(lane, max(r.First, s.head[lane]), r.Last)
	width := uint64(0)
	for _, h := range holes {
		width += h.to - h.from + 1
	}
	if lost = min(lost, width); !s.sure {
		lost = width
	}
	if lost == 0 {
		return nil
	}
	dense := r.Last-r.First+1 == r.Count
	all := s.sure && !s.stale && r.First >= s.head[lane] && !s.done[lane].touches(r.First, r.Last)
	if !dense || len(holes) > maxHoles {
		g := Gap{From: seqOf(holes[0].from), To: seqOf(holes[len(holes)-1].to), Messages: lost, Readings: readings, AtMost: !all}
		return []loss{s.loss(r, g, holes[len(holes)-1].to)}
	}
	out := make([]loss, 0, len(holes))
	for _, h := range holes {
		g := Gap{From: seqOf(h.from), To: seqOf(h.to), Messages: h.to - h.from + 1, Readings: readings, AtMost: !all || len(holes) > 1}
		out = append(out, s.loss(r, g, h.to))
	}
	return out
}

func (s *salvager) loss(r *segment.Run, g Gap, place uint64) loss {
	g.Lane, g.Epoch, g.Reason = Lane(r.Lane), r.Epoch, reasonDamage
	return loss{place: place, gap: g}
}

// holes are the places between two that were neither found nor done.
func (s *salvager) holes(lane Lane, from, to uint64) (out spans) {
	at := from
	for at <= to {
		if x, ok := s.found[lane].find(at); ok {
			at = x.to + 1
			continue
		}
		if x, ok := s.done[lane].find(at); ok {
			at = x.to + 1
			continue
		}
		end := to
		for _, all := range []spans{s.found[lane], s.done[lane]} {
			for _, x := range all {
				if x.from > at {
					end = min(end, x.from-1)
					break
				}
			}
		}
		out = append(out, span{at, end})
		at = end + 1
	}
	return out
}
