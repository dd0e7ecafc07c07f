package segment

import (
	"errors"

	"go.etcd.io/bbolt"

	"iotagent/outbox/internal/boltfile"
)

// VerifyFile is Verify for a file that is not open for appending.
func VerifyFile(path string) error {
	s, err := OpenReadOnly(path, nil)
	if err != nil {
		return err
	}
	return errors.Join(s.Verify(), s.Close())
}

// Verify reads everything: each page, each block with its checksum and its records, whether they rise, and whether the summary is
// right. It returns a Damage error for the first thing that is wrong. Appends wait meanwhile.
func (s *Segment) Verify() error {
	s.appending.Lock()
	defer s.appending.Unlock()
	fd := s.f.Descriptor()
	info, err := fd.Stat()
	if err != nil {
		return s.wrap(err)
	}
	if err := boltfile.Verify(fd, info.Size()); err != nil {
		return s.wrap(err)
	}
	v := verifier{want: s.sum}
	if err := s.f.View(func(tx *bbolt.Tx) error { return v.blocks(tx, s.codec) }); err != nil {
		return s.wrap(err)
	}
	for lane := range s.tail {
		if t := &s.tail[lane]; t.h.count > 0 {
			if err := v.block(s.codec, uint8(lane), t.h.first, t.enc); err != nil {
				return s.wrap(err)
			}
		}
	}
	if err := v.compare(); err != nil {
		return s.wrap(err)
	}
	return nil
}

// verifier adds up what the blocks hold.
type verifier struct {
	want Summary
	got  Summary
}

func (v *verifier) blocks(tx *bbolt.Tx, codec *Codec) error {
	var buf []byte
	c := tx.Bucket([]byte(bucketBlocks)).Cursor()
	k, value := c.First()
	for k != nil {
		if len(k) != keyLen {
			return boltfile.Damaged("key of %d bytes", len(k))
		}
		lane, first := k[0], keyFirst(k)
		var err error
		buf = buf[:0]
		if k, value, err = collect(c, k, value, &buf); err != nil {
			return err
		}
		if err := v.block(codec, lane, first, buf); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) block(codec *Codec, lane uint8, first uint64, b []byte) error {
	recs, err := codec.decode(lane, first, b)
	if err != nil {
		return boltfile.Damaged("lane %d, block at %d: %w", lane, first, err)
	}
	for i := range recs {
		r := &recs[i]
		if run := v.got.open(lane); run != nil && r.Pos <= run.Last {
			return boltfile.Damaged("lane %d: %d after %d", lane, r.Pos, run.Last)
		}
		run := v.got.run(lane, r, func(uint64) uint64 { return 0 })
		if run == nil {
			return boltfile.Damaged("more than %d runs", maxRuns)
		}
		run.add(r)
	}
	return nil
}

func (v *verifier) compare() error {
	if len(v.want.Runs) != len(v.got.Runs) {
		return boltfile.Damaged("%d runs, the summary has %d", len(v.got.Runs), len(v.want.Runs))
	}
	for i, got := range v.got.Runs {
		want := v.want.Runs[i]
		got.Epoch = want.Epoch
		if got != want {
			return boltfile.Damaged("lane %d: run from %d is not what the summary says", got.Lane, got.First)
		}
	}
	return nil
}
