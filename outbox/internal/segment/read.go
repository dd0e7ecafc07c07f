package segment

import (
	"encoding/binary"
	"slices"

	"go.etcd.io/bbolt"

	"iotagent/outbox/internal/boltfile"
)

// Read returns the records of the lane's block that holds a place, or of the first block after it, in order; nil when there is none.
// The bodies share a buffer made for this call. A block that cannot be read, or that the summary knows and the file does not, is a Damage
// error.
func (s *Segment) Read(lane uint8, pos uint64) ([]Record, error) {
	if lane >= Lanes {
		return nil, nil
	}
	recs, within, err := s.read(lane, pos)
	switch {
	case err != nil || !within || len(recs) > 0 && recs[0].Pos-recs[0].Span <= pos:
		return recs, err
	case len(recs) == 0:
		return nil, s.wrap(boltfile.Damaged("lane %d has nothing from %d on", lane, pos))
	}
	return recs, s.sound() // a hole; bbolt may also have lost its way in a bad page
}

// sound looks through the structure of the file, once.
func (s *Segment) sound() error {
	s.appending.Lock()
	defer s.appending.Unlock()
	if s.checked {
		return nil
	}
	fd := s.f.Descriptor()
	info, err := fd.Stat()
	if err == nil {
		err = boltfile.Verify(fd, info.Size())
	}
	if err != nil {
		return s.wrap(err)
	}
	s.checked = true
	return nil
}

// read is Read without doubts; within says that the place lies between the first and the last of a run.
func (s *Segment) read(lane uint8, pos uint64) (recs []Record, within bool, err error) {
	// Held until the end: a block that moves from the tails to the bucket is in one of them for all who look.
	s.mu.RLock()
	defer s.mu.RUnlock()
	within = slices.ContainsFunc(s.sum.Runs, func(r Run) bool { return r.Lane == lane && r.First <= pos && pos <= r.Last })
	t := &s.tail[lane]
	if t.h.count > 0 && pos >= t.h.first {
		if pos > t.h.last {
			return nil, within, nil
		}
		recs, err = s.decode(lane, t.h.first, t.enc)
		return recs, within, err
	}
	buf, ok := s.codec.scratch.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer s.codec.scratch.Put(buf)
	first, err := s.find(lane, pos, buf)
	switch {
	case err != nil:
		return nil, within, s.wrap(err)
	case len(*buf) > 0:
		recs, err = s.decode(lane, first, *buf)
	case t.h.count > 0:
		recs, err = s.decode(lane, t.h.first, t.enc)
	}
	return recs, within, err
}

func (s *Segment) decode(lane uint8, first uint64, b []byte) ([]Record, error) {
	recs, err := s.codec.decode(lane, first, b)
	if err != nil {
		return nil, boltfile.Damaged("segment %s: lane %d, block at %d: %w", s.path, lane, first, err)
	}
	return recs, nil
}

// find puts together the block that holds a place or else the next one. The buffer stays empty when there is none.
func (s *Segment) find(lane uint8, pos uint64, buf *[]byte) (first uint64, err error) {
	*buf = (*buf)[:0]
	err = s.f.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketBlocks)).Cursor()
		k, v := seekBlock(c, lane, pos)
		for len(k) == keyLen && k[0] == lane {
			first = keyFirst(k)
			if k, v, err = collect(c, k, v, buf); err != nil {
				return err
			}
			if h, err := parseHeader(lane, first, *buf); err != nil || pos <= h.last {
				return err
			}
			*buf = (*buf)[:0]
		}
		if k != nil && len(k) != keyLen {
			return boltfile.Damaged("key of %d bytes", len(k))
		}
		return nil
	})
	return first, err
}

// seekBlock goes to the first piece of the last block of the lane that does not begin after pos, or else to the first block.
func seekBlock(c *bbolt.Cursor, lane uint8, pos uint64) (k, v []byte) {
	var key [keyLen]byte
	start := blockKey(lane, pos)
	copy(key[:], start[:])
	binary.BigEndian.PutUint16(key[blockKeyLen:], 0xFFFF)
	if k, _ = c.Seek(key[:]); k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	if len(k) == keyLen && k[0] == lane {
		copy(key[:], k)
	}
	key[blockKeyLen], key[blockKeyLen+1] = 0, 0
	return c.Seek(key[:])
}

// collect appends the pieces of the block whose first one the cursor stands at, and returns what follows it.
func collect(c *bbolt.Cursor, k, v []byte, buf *[]byte) (nextKey, nextValue []byte, err error) {
	var key [keyLen]byte
	copy(key[:], k)
	for i := 0; len(k) == keyLen && string(k[:blockKeyLen]) == string(key[:blockKeyLen]); i++ {
		if int(binary.BigEndian.Uint16(k[blockKeyLen:])) != i || len(v) == 0 || len(v) > pieceLen {
			return nil, nil, boltfile.Damaged("lane %d, block at %d: a piece is missing", key[0], keyFirst(key[:]))
		}
		*buf = append(*buf, v...)
		k, v = c.Next()
	}
	return k, v, nil
}
