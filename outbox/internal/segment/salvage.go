package segment

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"iotagent/outbox/internal/boltfile"
)

// Salvage reads what can be read of a damaged file, with plain reads only. keep is called for each whole record once, in the order of
// the lane; an error of its own ends the salvage. The summary is the newest that can be read, nil when there is none; epochs has what
// it says about the first place of each run. Records that were being appended when the power went may be among those kept.
func Salvage(path string, o *Options, keep func(lane uint8, r Record) error) (sum *Summary, epochs map[uint64]uint64, err error) {
	if o == nil {
		o = new(Options)
	}
	open, codec := o.OpenFile, o.Codec
	if open == nil {
		open = os.OpenFile
	}
	if codec == nil {
		codec = NewCodec()
	}
	fd, err := open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("salvage segment: %w", err)
	}
	defer func() { _ = fd.Close() }() // only read from
	info, err := fd.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("salvage segment %s: %w", path, err)
	}
	s := &salvager{codec: codec, pieces: make(map[blockID][][][]byte)}
	if err := s.search(fd, info.Size()); err != nil {
		return nil, nil, fmt.Errorf("salvage segment %s: %w", path, err)
	}
	epochs = make(map[uint64]uint64)
	if s.sum != nil {
		for _, r := range s.sum.Runs {
			epochs[r.First] = r.Epoch
		}
	}
	return s.sum, epochs, s.emit(keep)
}

type blockID struct {
	lane  uint8
	first uint64
}

type salvager struct {
	codec   *Codec
	pieces  map[blockID][][][]byte // what was found for each piece of a block; mostly one
	tails   map[string][]byte
	sum     *Summary
	blocks  []tail // finished ones, too
	damaged bool
}

// search looks into the newest commit; when that is not all there, into the one before and into every page by itself.
func (s *salvager) search(r io.ReaderAt, size int64) error {
	stale := false
	damaged := func(err error) error {
		s.damaged = true
		stale = stale || errors.Is(err, boltfile.ErrMetaLost)
		return nil
	}
	defer func() {
		if s.sum != nil {
			s.sum.Stale = stale
		}
	}()
	s.tails = make(map[string][]byte)
	if err := boltfile.Walk(r, size, s.leaf, damaged); err != nil && !boltfile.IsDamage(err) {
		return err
	}
	s.openBlocks()
	s.assemble()
	if !s.damaged && s.sum != nil {
		return nil
	}
	stale = stale || s.sum == nil
	s.tails = make(map[string][]byte)
	if err := boltfile.WalkPrevious(r, size, s.leaf, damaged); err != nil && !boltfile.IsDamage(err) {
		return err
	}
	s.openBlocks()
	if err := boltfile.Orphans(r, size, func(k, v []byte) error { return s.leaf(bucketBlocks, k, v) }); err != nil {
		return err
	}
	s.assemble()
	return nil
}

func (s *salvager) leaf(bucket string, k, v []byte) error {
	switch {
	case bucket == boltfile.BucketMeta && string(k) == boltfile.KeyFormat:
		if m, n, ok := boltfile.Format(v); ok && m == magic && n > formatVersion {
			return boltfile.ErrNewer
		}
	case bucket == bucketSummary && s.sum == nil:
		if sum, err := decodeSummary(v); err == nil {
			s.sum = sum
		}
	case bucket == bucketBlocks && len(k) == keyLen && k[0] < Lanes && len(v) > 0 && len(v) <= pieceLen:
		s.piece(blockID{k[0], keyFirst(k)}, int(binary.BigEndian.Uint16(k[blockKeyLen:])), v)
	case string(k) == keyTail:
		s.tails[bucket] = bytes.Clone(v)
	}
	return nil
}

func (s *salvager) piece(id blockID, i int, v []byte) {
	p := s.pieces[id]
	if i > maxBytes/pieceLen {
		return
	}
	for len(p) <= i {
		p = append(p, nil)
	}
	if !slices.ContainsFunc(p[i], func(x []byte) bool { return bytes.Equal(x, v) }) {
		p[i] = append(p[i], bytes.Clone(v))
	}
	s.pieces[id] = p
}

// openBlocks takes the open blocks of one commit.
func (s *salvager) openBlocks() {
	var blob []byte
	for _, name := range tailBuckets() {
		blob = append(blob, s.tails[name]...)
	}
	tails, err := parseTails(blob)
	s.damaged = s.damaged || err != nil
	for _, t := range tails {
		if t.h.count > 0 {
			s.blocks = append(s.blocks, t)
		}
	}
}

// tries bounds how many ways to put pieces together are tried for a block; more than one way is rare.
const tries = 64

// assemble puts blocks together. Those that are whole leave the pieces.
func (s *salvager) assemble() {
	for id, p := range s.pieces {
		left := tries
		if s.join(id, p, nil, &left) {
			delete(s.pieces, id)
		} else {
			s.damaged = true
		}
	}
}

// join tries to complete a block that begins with b.
func (s *salvager) join(id blockID, p [][][]byte, b []byte, left *int) bool {
	if len(b) >= headerLen {
		h, err := parseHeader(id.lane, id.first, b)
		if err != nil || uint64(len(b)) >= headerLen+uint64(h.payload) {
			*left--
			if _, err := whole(id.lane, id.first, b); err != nil {
				return false
			}
			s.blocks = append(s.blocks, tail{h, b})
			return true
		}
	}
	if len(p) == 0 {
		*left--
		return false
	}
	for _, piece := range p[0] {
		if *left > 0 && s.join(id, p[1:], append(b[:len(b):len(b)], piece...), left) {
			return true
		}
	}
	return false
}

// emit hands out the records. Blocks may overlap: those of another commit, or of one that failed and was tried again.
func (s *salvager) emit(keep func(lane uint8, r Record) error) error {
	slices.SortFunc(s.blocks, func(a, b tail) int {
		return cmp.Or(cmp.Compare(a.h.lane, b.h.lane), cmp.Compare(a.h.first, b.h.first), cmp.Compare(b.h.last, a.h.last))
	})
	lane, next := uint8(0), uint64(0)
	for _, x := range s.blocks {
		if x.h.lane != lane {
			lane, next = x.h.lane, 0
		}
		recs, err := s.codec.decode(lane, x.h.first, x.enc)
		if err != nil {
			if boltfile.IsDamage(err) {
				continue
			}
			return err
		}
		for _, r := range recs {
			if r.Pos < next {
				continue
			}
			if err := keep(lane, r); err != nil {
				return err
			}
			next = r.Pos + 1
		}
	}
	return nil
}
