package outbox

import (
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// batch is one transaction: planned under the lock, applied without it, published or undone under it again.
type batch struct {
	serial     uint64
	epoch      uint64
	base, tail [lanes]uint64

	groups  []*group
	puts    []put
	deletes []key // acked
	drops   []victim
	gaps    []gapPut
	rejects []*rejection
	maxDead uint64
	maxSize uint64

	after   state
	written uint64
}

type put struct {
	rec record // a copy: the staged one loses its body when it is acked meanwhile
	s   *staged
}

// gapPut writes a gap record where the last lost message stood; moved is where it stood before it grew.
type gapPut struct {
	rec   record
	gap   Gap
	moved *key
}

// apply does everything a batch says in one transaction. Whatever it counts is what it found, so that doing a batch again, or
// on a file that lost something, leaves the counts right.
func (f *file) apply(b *batch) error {
	written, err := f.update(func(tx *bbolt.Tx) error {
		m := tx.Bucket([]byte(bucketMeta))
		st, err := decodeState(m.Get([]byte(keyState)))
		if err != nil {
			return &damage{err}
		}
		t := &txn{q: tx.Bucket([]byte(bucketQueue)), dead: tx.Bucket([]byte(bucketDead)), st: &st}
		t.q.FillPercent = 1.0 // positions only rise: no room is needed between them
		if err := t.run(b); err != nil {
			return err
		}
		epochs := tx.Bucket([]byte(bucketEpochs))
		began, err := putEpochs(epochs, b, &st)
		if err != nil {
			return err
		}
		t.heads()
		if began {
			if err := pruneEpochs(epochs, &st); err != nil {
				return err
			}
		}
		st.serial = b.serial
		b.after = st
		return m.Put([]byte(keyState), st.encode())
	})
	b.written = written
	return err
}

type txn struct {
	q, dead *bbolt.Bucket
	st      *state
}

func (t *txn) run(b *batch) error {
	for i := range b.puts {
		if err := t.put(&b.puts[i].rec); err != nil {
			return err
		}
	}
	for _, r := range b.rejects {
		if err := t.reject(b, r); err != nil {
			return err
		}
	}
	for _, k := range b.deletes {
		if err := t.remove(k); err != nil {
			return err
		}
	}
	for i := range b.drops {
		if err := t.remove(b.drops[i].key); err != nil {
			return err
		}
	}
	for i := range b.gaps {
		g := &b.gaps[i]
		if g.moved != nil {
			if err := t.remove(*g.moved); err != nil {
				return err
			}
		}
		if err := t.put(&g.rec); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) put(r *record) error {
	k := r.key.bytes()
	l := &t.st.lane[r.key.lane]
	if r.key.pos <= l.tail {
		if err := t.remove(r.key); err != nil { // the same batch a second time
			return err
		}
	}
	l.add(r)
	return t.q.Put(k, r.encode())
}

func (t *txn) remove(at key) error {
	k := at.bytes()
	v := t.q.Get(k)
	if v == nil {
		return nil
	}
	r, err := decode(k, v)
	if err != nil {
		return &damage{err}
	}
	t.st.lane[at.lane].remove(&r)
	return t.q.Delete(k)
}

// heads brings the summary of the lanes up to date.
func (t *txn) heads() {
	c := t.q.Cursor()
	for i := range t.st.lane {
		l := &t.st.lane[i]
		k, v := c.Seek(key{lane: Lane(i)}.bytes())
		at, ok := parseKey(k)
		if !ok || int(at.lane) != i || len(v) < recordHeader {
			l.head, l.oldest = l.tail+1, 0
			continue
		}
		l.head, l.oldest = at.pos, binary.BigEndian.Uint64(v[recordHeader-8:])
	}
}

// putEpochs notes where the epoch begins in each lane, so that a missing position can be named by its id.
func putEpochs(b *bbolt.Bucket, bt *batch, st *state) (began bool, err error) {
	for i := range st.lane {
		l := &st.lane[i]
		if bt.tail[i] <= l.tail {
			continue
		}
		if l.tail <= bt.base[i] {
			k := key{lane: Lane(i), pos: bt.base[i] + 1}
			if err := b.Put(k.bytes(), binary.BigEndian.AppendUint64(nil, bt.epoch)); err != nil {
				return false, err
			}
			began = true
		}
		l.tail = bt.tail[i]
	}
	return began, nil
}

// pruneEpochs forgets the epochs of which nothing can be left.
func pruneEpochs(b *bbolt.Bucket, st *state) error {
	c := b.Cursor()
	var last key
	var gone [][]byte
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		at, ok := parseKey(k)
		if !ok {
			return damaged("bad key %x among the epochs", k)
		}
		if last.pos > 0 && last.lane == at.lane && at.pos <= st.lane[at.lane].head {
			gone = append(gone, last.bytes())
		}
		last = at
	}
	for _, k := range gone {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
