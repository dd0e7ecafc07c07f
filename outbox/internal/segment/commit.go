package segment

import (
	"encoding/binary"

	"go.etcd.io/bbolt"

	"iotagent/outbox/internal/boltfile"
)

// touched names what commit changes; all pieces of a block go to one place.
func (w *writer) touched() []boltfile.Key {
	keys := []boltfile.Key{{Bucket: bucketSummary, Key: []byte(keySummary)}}
	for _, name := range tailBuckets() {
		keys = append(keys, boltfile.Key{Bucket: name, Key: []byte(keyTail)})
	}
	for _, d := range w.done {
		k := blockKey(d.lane, d.first)
		keys = append(keys, boltfile.Key{Bucket: bucketBlocks, Key: k[:]})
	}
	return keys
}

// commit writes what was built.
func (w *writer) commit(tx *bbolt.Tx) error {
	q := tx.Bucket([]byte(bucketBlocks))
	q.FillPercent = 1 // keys of a lane rise
	var key [keyLen]byte
	for _, d := range w.done {
		k := blockKey(d.lane, d.first)
		copy(key[:], k[:])
		key[blockKeyLen], key[blockKeyLen+1] = 0, 0
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
