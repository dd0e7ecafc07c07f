package segment

import (
	"encoding/binary"

	"go.etcd.io/bbolt"

	"iotagent/outbox/internal/boltfile"
)

// commit writes what was built.
func (w *writer) commit(tx *bbolt.Tx) error {
	q := tx.Bucket([]byte(bucketBlocks))
	q.FillPercent = 1 // keys of a lane rise
	var key [keyLen]byte
	for _, d := range w.done {
		k := blockKey(d.lane, d.first)
		copy(key[:], k[:])
		key[blockKeyLen], key[blockKeyLen+1] = 0, 0
		if err := checkLeaf(q, key[:]); err != nil {
			return err
		}
		for i := 0; d.from < d.to; i++ {
			n := min(pieceLen, d.to-d.from)
			binary.BigEndian.PutUint16(key[blockKeyLen:], uint16(i))
			if err := q.Put(key[:], w.out[d.from:d.from+n]); err != nil {
				return err
			}
			d.from += n
		}
	}
	if err := tx.Bucket([]byte(bucketSummary)).Put([]byte(keySummary), w.sumEnc); err != nil {
		return err
	}
	return w.commitTails(tx)
}

func (w *writer) commitTails(tx *bbolt.Tx) error {
	w.blob = w.blob[:0]
	for lane := range w.next {
		if t := &w.next[lane]; t.h.count > 0 {
			k := blockKey(uint8(lane), t.h.first)
			w.blob = append(append(w.blob, k[:]...), t.enc...)
		}
	}
	rest := w.blob
	for _, name := range tailBuckets() {
		b, n := tx.Bucket([]byte(name)), min(tailPiece, len(rest))
		var err error
		if n > 0 {
			err = b.Put([]byte(keyTail), rest[:n])
		} else {
			err = b.Delete([]byte(keyTail))
		}
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// checkLeaf looks at what stands around a key, a page's worth to each side. bbolt copies the page that a key goes to, and a damaged length
// in it could make it ask for gigabytes.
func checkLeaf(q *bbolt.Bucket, key []byte) error {
	c := q.Cursor()
	for _, step := range [...]func() (k, v []byte){c.Prev, c.Next} {
		k, v := c.Seek(key)
		if k == nil {
			k, v = c.Last()
		}
		for size := 0; k != nil && size < boltfile.PageSize; k, v = step() {
			if len(k) != keyLen || len(v) == 0 || len(v) > pieceLen {
				return boltfile.Damaged("key of %d bytes with %d bytes of a block", len(k), len(v))
			}
			size += elementLen + len(k) + len(v)
		}
	}
	return nil
}
