package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"

	"go.etcd.io/bbolt"

	"iotagent/outbox/internal/boltfile"
)

// control.db holds what changes: state {"state" → summary}, gaps {lane | place | epoch | seq → Gap}, segments {order → catalog entry},
// dead {number → dead letter}. Only the writer commits.
const (
	controlName    = "control.db"
	controlMagic   = "iotagent outbox control"
	controlVersion = 1
	controlMax     = 64 << 20
	controlMap     = 1 << 20

	bucketState    = "state"
	bucketGaps     = "gaps"
	bucketSegments = "segments"
	bucketDead     = "dead"
	keyState       = "state"
)

func controlOptions(o *Options) *boltfile.Options {
	return &boltfile.Options{
		ReadOnly: o.ReadOnly, MaxBytes: controlMax, MapBytes: controlMap, Magic: controlMagic, Version: controlVersion,
		Buckets: []string{bucketState, bucketGaps, bucketSegments, bucketDead}, OpenFile: o.OpenFile,
	}
}

// control is the open file and what it is known to hold. f is nil for a damaged one that is only looked at.
type control struct {
	f       *boltfile.File
	gaps    map[string][]byte
	segs    map[string][]byte
	state   []byte
	letters []letterSize
	// salvaged are the letters that were read out of a damaged file; torn says that more may have been in it than was read.
	salvaged map[uint64][]byte
	torn     bool
}

// openControl opens or makes the file and reads what is in it. A damage error says that it cannot be trusted.
func openControl(path string, o *Options) (*control, error) {
	f, err := boltfile.Open(path, controlOptions(o))
	if err != nil {
		return nil, err
	}
	c := &control{f: f, gaps: map[string][]byte{}, segs: map[string][]byte{}}
	if err := c.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

func (c *control) load() error {
	return c.f.View(func(tx *bbolt.Tx) error {
		c.state = bytes.Clone(tx.Bucket([]byte(bucketState)).Get([]byte(keyState)))
		for name, into := range map[string]map[string][]byte{bucketGaps: c.gaps, bucketSegments: c.segs} {
			err := tx.Bucket([]byte(name)).ForEach(func(k, v []byte) error {
				into[string(k)] = bytes.Clone(v)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return tx.Bucket([]byte(bucketDead)).ForEach(func(k, v []byte) error {
			if len(k) != 8 {
				return boltfile.Damaged("bad key %x among the dead letters", k)
			}
			c.letters = append(c.letters, letterSize{binary.BigEndian.Uint64(k), int64(len(v))})
			return nil
		})
	})
}

// eachLetter calls fn for each dead letter, oldest first, until it returns false.
func (c *control) eachLetter(fn func(k, v []byte) bool) error {
	if c.f == nil {
		for _, n := range slices.Sorted(maps.Keys(c.salvaged)) {
			if !fn(bigEndian(n), c.salvaged[n]) {
				break
			}
		}
		return nil
	}
	return c.f.View(func(tx *bbolt.Tx) error {
		cur := tx.Bucket([]byte(bucketDead)).Cursor()
		for k, v := cur.First(); k != nil && fn(k, v); k, v = cur.Next() {
		}
		return nil
	})
}

// wish is what control.db should hold after the next commit. nil maps leave theirs as they are.
type wish struct {
	state   []byte
	gaps    map[string][]byte
	segs    map[string][]byte
	bury    []letter
	unearth []uint64 // numbers of letters to throw away
}

// idle says that the file holds all that already.
func (c *control) idle(w *wish) bool {
	return len(w.bury) == 0 && len(w.unearth) == 0 && bytes.Equal(c.state, w.state) &&
		(w.gaps == nil || sameValues(c.gaps, w.gaps)) && (w.segs == nil || sameValues(c.segs, w.segs))
}

func sameValues(a, b map[string][]byte) bool {
	return maps.EqualFunc(a, b, bytes.Equal)
}

// commit makes the file hold what is wished, in one transaction; took notes that it does. After an error nobody knows what it holds: open
// it anew and wish again.
func (c *control) commit(w *wish) (written uint64, err error) {
	return c.f.Update(nil, func(tx *bbolt.Tx) error {
		if err := tx.Bucket([]byte(bucketState)).Put([]byte(keyState), w.state); err != nil {
			return err
		}
		if w.gaps != nil {
			if err := replace(tx.Bucket([]byte(bucketGaps)), c.gaps, w.gaps); err != nil {
				return err
			}
		}
		if w.segs != nil {
			if err := replace(tx.Bucket([]byte(bucketSegments)), c.segs, w.segs); err != nil {
				return err
			}
		}
		d := tx.Bucket([]byte(bucketDead))
		for _, l := range w.bury {
			if err := d.Put(bigEndian(l.number), l.value); err != nil {
				return err
			}
		}
		for _, n := range w.unearth {
			if err := d.Delete(bigEndian(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// replace writes only the differences.
func replace(b *bbolt.Bucket, old, now map[string][]byte) error {
	for k := range old {
		if _, ok := now[k]; !ok {
			if err := b.Delete([]byte(k)); err != nil {
				return err
			}
		}
	}
	for k, v := range now {
		if !bytes.Equal(old[k], v) {
			if err := b.Put([]byte(k), v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *control) took(w *wish) {
	c.state = w.state
	if w.gaps != nil {
		c.gaps = w.gaps
	}
	if w.segs != nil {
		c.segs = w.segs
	}
	for _, l := range w.bury {
		c.letters = slices.DeleteFunc(c.letters, func(x letterSize) bool { return x.number == l.number })
		c.letters = append(c.letters, letterSize{l.number, int64(len(l.value))})
	}
	c.letters = slices.DeleteFunc(c.letters, func(x letterSize) bool { return slices.Contains(w.unearth, x.number) })
}

func (c *control) diskBytes() int64 {
	if c.f == nil {
		return 0
	}
	return c.f.DiskBytes()
}

func (c *control) close() error {
	if c == nil || c.f == nil {
		return nil
	}
	return c.f.Close()
}

// salvageControl reads what can be read of a damaged control.db. What it does not find is missing from the result.
func salvageControl(path string, o *Options) (*control, error) {
	f, err := o.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) { // removed by somebody
		return &control{torn: true}, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	c := &control{gaps: map[string][]byte{}, segs: map[string][]byte{}}
	dead := map[uint64][]byte{}
	err = boltfile.Walk(f, info.Size(), func(bucket string, k, v []byte) (err error) {
		switch bucket {
		case bucketState:
			if _, err = decodeState(v); err == nil && c.state == nil {
				c.state = bytes.Clone(v)
			}
		case bucketGaps:
			if _, err = decodeGap(k, v); err == nil {
				c.gaps[string(k)] = bytes.Clone(v)
			}
		case bucketSegments:
			if _, err = decodeSeg(k, v); err == nil {
				c.segs[string(k)] = bytes.Clone(v)
			}
		case bucketDead:
			if _, err = decodeDead(v); err == nil && len(k) == 8 {
				dead[binary.BigEndian.Uint64(k)] = bytes.Clone(v)
			}
		}
		c.torn = c.torn || err != nil
		return nil
	}, func(error) error {
		c.torn = true
		return nil
	})
	if err != nil && !boltfile.IsDamage(err) {
		return nil, err
	}
	c.torn = c.torn || err != nil || c.state == nil
	c.salvaged = dead
	return c, nil
}
