package outbox

import (
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// loss is a gap to declare, and the positions that it covers (none when they are unknown).
type loss struct {
	gap         Gap
	first, last uint64
}

// hole is a run of positions of one epoch with no record: lost, or acked out of order.
type hole struct {
	epoch       uint64
	start       uint64 // the epoch's first position
	first, last uint64
	n           uint64
}

// maxHoles bounds the gaps of one lane; more are declared as one.
const maxHoles = 32

// losses compares the salvaged file with what the old state said. Positions that acked says yes to are known not to be lost.
func (s *salvager) losses(acked func(key) bool) ([]loss, error) {
	var out []loss
	if s.old == nil {
		return s.unknown(), nil
	}
	err := s.out.view(func(tx *bbolt.Tx) error {
		used := false
		for i := range s.st.lane {
			lane := Lane(i)
			holes, fine := s.holes(tx, lane, acked)
			out = append(out, s.declare(lane, holes, fine)...)
			if s.stale && s.hidden > 0 && s.st.lane[i].tail > 0 {
				used = true
				out = append(out, s.newest(lane))
			}
		}
		if s.stale && s.hidden > 0 && !used { // the first commit of all, with nothing left of it
			out = append(out, s.newest(Normal))
		}
		return nil
	})
	return out, err
}

// holes lists the runs that are missing in a lane and counts the positions that were acked.
func (s *salvager) holes(tx *bbolt.Tx, lane Lane, acked func(key) bool) (holes []hole, fine uint64) {
	old := s.old.lane[lane]
	if s.st.lane[lane].count-s.beyond[lane] >= old.count {
		return nil, 0
	}
	epochs := tx.Bucket([]byte(bucketEpochs)).Cursor()
	miss := func(from, to uint64) {
		for pos := from; pos <= to; pos++ {
			if acked(key{lane, pos}) {
				fine++
				continue
			}
			if h := len(holes) - 1; h >= 0 && holes[h].last+1 == pos && !begins(epochs, lane, pos) {
				holes[h].last++
				holes[h].n++
				continue
			}
			start, epoch := epochAt(epochs, lane, pos)
			holes = append(holes, hole{epoch: epoch, start: start, first: pos, last: pos, n: 1})
			holes = squeeze(holes)
		}
	}
	at := old.head
	c := tx.Bucket([]byte(bucketQueue)).Cursor()
	for k, _ := c.Seek(key{lane, at}.bytes()); k != nil; k, _ = c.Next() {
		kk, ok := parseKey(k)
		if !ok || kk.lane != lane {
			break
		}
		if kk.pos > at {
			miss(at, kk.pos-1)
		}
		at = kk.pos + 1
	}
	if at <= old.tail {
		miss(at, old.tail)
	}
	return holes, fine
}

// squeeze joins the oldest two holes of one epoch when there are too many.
func squeeze(holes []hole) []hole {
	if len(holes) <= maxHoles {
		return holes
	}
	for i := range len(holes) - 1 {
		if holes[i].epoch == holes[i+1].epoch {
			holes[i].last = holes[i+1].last
			holes[i].n += holes[i+1].n
			return append(holes[:i+1], holes[i+2:]...)
		}
	}
	return holes
}

func begins(c *bbolt.Cursor, lane Lane, pos uint64) bool {
	k, _ := c.Seek(key{lane, pos}.bytes())
	at, ok := parseKey(k)
	return ok && at == key{lane, pos}
}

// epochAt returns the epoch that a position belongs to and its first position; 0 when unknown.
func epochAt(c *bbolt.Cursor, lane Lane, pos uint64) (start, epoch uint64) {
	back := c.Prev
	if k, _ := c.Seek(key{lane, pos + 1}.bytes()); k == nil {
		back = c.Last
	}
	k, v := back()
	at, ok := parseKey(k)
	if !ok || at.lane != lane || len(v) != 8 {
		return 0, 0
	}
	return at.pos, binary.BigEndian.Uint64(v)
}

// declare turns the holes of a lane into gaps. The counts are exact when everything missing was lost.
func (s *salvager) declare(lane Lane, holes []hole, fine uint64) []loss {
	old, now := s.old.lane[lane], s.st.lane[lane]
	lost := old.count - min(old.count, now.count-s.beyond[lane]+fine)
	readings := old.readings - min(old.readings, now.readings)
	if lost == 0 {
		return nil
	}
	missing := uint64(0)
	for _, h := range holes {
		missing += h.n
	}
	exact := missing == lost && !s.stale && fine == 0
	var out []loss
	for _, h := range holes {
		g := Gap{Epoch: h.epoch, Lane: lane, Messages: min(h.n, lost), Readings: readings, Reason: reasonDamage}
		g.AtMost = !exact || len(holes) > 1
		if h.epoch != 0 {
			g.From, g.To = h.first-h.start+1, h.last-h.start+1
		}
		out = append(out, loss{gap: g, first: h.first, last: h.last})
	}
	if len(out) == 0 { // more was counted than there are places for
		out = append(out, loss{gap: Gap{Lane: lane, Messages: lost, Readings: readings, AtMost: true, Reason: reasonDamage}})
	}
	return out
}

// least is what the smallest message takes in a file.
const least = elementLen + keyLen + recordHeader

// newest declares what the last commit may have put into pages that cannot be read, after all that the state record knows of.
func (s *salvager) newest(lane Lane) loss {
	return loss{gap: Gap{Lane: lane, Messages: s.hidden * pageSize / least, AtMost: true, Reason: reasonDamage}}
}

// unknown declares what a file may have held of which not even the counts can be read: it may have been cut, so all that the quota
// allowed.
func (s *salvager) unknown() []loss {
	n := uint64(max(s.size/least, s.quota/overhead))
	var out []loss
	for i := range s.st.lane {
		if s.st.lane[i].count > 0 {
			out = append(out, loss{gap: Gap{Lane: Lane(i), Messages: n, AtMost: true, Reason: reasonDamage}})
		}
	}
	if len(out) == 0 {
		out = append(out, loss{gap: Gap{Lane: Normal, Messages: n, AtMost: true, Reason: reasonDamage}})
	}
	return out
}
