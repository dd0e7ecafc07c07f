package segment

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"iotagent/outbox/internal/boltfile"
)

// Run sums up what a segment holds of one lane and one run of the process; all that was ever appended counts.
type Run struct {
	Lane                   uint8
	Epoch                  uint64
	First, Last            uint64 // places
	Count, Readings, Bytes uint64 // Bytes are those of the bodies
	Oldest, Newest         int64  // put times, ms
}

// Summary has a segment's runs by lane, then by place.
type Summary struct {
	Runs []Run
	// Stale is set by Salvage: there was a newer summary, which cannot be read.
	Stale bool
}

// runShift is where the number of the run of the process stands in a place.
const runShift = 40

// maxRuns bounds the summary. A 65th run starts a new segment.
const maxRuns = 64

func (r *Run) add(x *Record) {
	r.Last = x.Pos
	r.Count++
	r.Readings += uint64(x.Readings)
	r.Bytes += uint64(len(x.Body))
	r.Oldest, r.Newest = min(r.Oldest, x.Put), max(r.Newest, x.Put)
}

// open returns the newest run of a lane, nil when there is none.
func (s *Summary) open(lane uint8) *Run {
	for i := len(s.Runs) - 1; i >= 0; i-- {
		if s.Runs[i].Lane == lane {
			return &s.Runs[i]
		}
	}
	return nil
}

// run returns the run that a record of the lane belongs to, which may have to be begun. It is nil when there is no room for it.
func (s *Summary) run(lane uint8, x *Record, epochs func(pos uint64) uint64) *Run {
	if r := s.open(lane); r != nil && r.Last>>runShift == x.Pos>>runShift {
		return r
	}
	if len(s.Runs) == maxRuns {
		return nil
	}
	at := 0
	for at < len(s.Runs) && s.Runs[at].Lane <= lane {
		at++
	}
	s.Runs = slices.Insert(s.Runs, at, Run{
		Lane: lane, Epoch: epochs(x.Pos), First: x.Pos, Last: x.Pos, Oldest: x.Put, Newest: x.Put,
	})
	return &s.Runs[at]
}

// Encoded: CRC-32C u32 over the rest, version u8, uvarint count; each run: lane u8, epoch u64 BE, uvarints first, last-first, count,
// readings, bytes, varint oldest, uvarint newest-oldest.
func (s *Summary) append(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, formatVersion)
	b = binary.AppendUvarint(b, uint64(len(s.Runs)))
	for i := range s.Runs {
		r := &s.Runs[i]
		b = append(b, r.Lane)
		b = binary.BigEndian.AppendUint64(b, r.Epoch)
		for _, v := range [...]uint64{r.First, r.Last - r.First, r.Count, r.Readings, r.Bytes} {
			b = binary.AppendUvarint(b, v)
		}
		b = binary.AppendVarint(b, r.Oldest)
		b = binary.AppendUvarint(b, uint64(r.Newest-r.Oldest))
	}
	binary.BigEndian.PutUint32(b[start:], crc32.Checksum(b[start+4:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func decodeSummary(b []byte) (*Summary, error) {
	if len(b) < 6 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], crc32.MakeTable(crc32.Castagnoli)) {
		return nil, boltfile.Damaged("summary with a wrong checksum")
	}
	if b[4] != formatVersion {
		return nil, boltfile.Damaged("summary of version %d", b[4])
	}
	d := recordReader{b: b[5:]}
	n := d.uvarint()
	if n > maxRuns {
		return nil, boltfile.Damaged("summary of %d runs", n)
	}
	s := &Summary{Runs: make([]Run, n, maxRuns)}
	for i := range s.Runs {
		r := &s.Runs[i]
		if len(d.b) < 9 {
			return nil, boltfile.Damaged("summary is cut short")
		}
		r.Lane, r.Epoch = d.b[0], binary.BigEndian.Uint64(d.b[1:])
		d.b = d.b[9:]
		r.First = d.uvarint()
		r.Last = r.First + d.uvarint()
		r.Count, r.Readings, r.Bytes = d.uvarint(), d.uvarint(), d.uvarint()
		r.Oldest = d.varint()
		r.Newest = r.Oldest + int64(d.uvarint())
		if d.fail || !r.sound() || i > 0 && compareRuns(&s.Runs[i-1], r) >= 0 {
			return nil, boltfile.Damaged("summary with a run that cannot be")
		}
	}
	if len(d.b) > 0 {
		return nil, boltfile.Damaged("summary with %d bytes too many", len(d.b))
	}
	return s, nil
}

func (r *Run) sound() bool {
	return r.Lane < Lanes && r.First <= r.Last && r.First>>runShift == r.Last>>runShift && r.Oldest <= r.Newest &&
		r.Count > 0 && r.Count <= r.Last-r.First+1
}

func compareRuns(a, b *Run) int {
	return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.Last, b.First))
}
