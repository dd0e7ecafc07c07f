package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"

	"iotagent/internal/durable"
)

// A repair builds a second file from what can be read, complete with the gaps that declare the loss, and only then renames:
// the damaged file to its corrupt name, the new one into its place. A crash in between is finished by the next Open.
const (
	salvagingName = fileName + ".salvaging" // being written: thrown away at Open
	salvagedName  = fileName + ".salvaged"  // complete: put in place at Open

	// serialJump keeps a repaired file's serial from being taken for that of a batch that was under way.
	serialJump = 1 << 20

	reasonDamage = "damage"
)

// finishRepair completes or forgets a repair that was interrupted.
func (o *Outbox) finishRepair() error {
	if err := os.Remove(o.dir + "/" + salvagingName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(o.dir + "/" + salvagedName); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return o.swap()
}

func (o *Outbox) swap() error {
	err := putAside(o.dir, o.opt.Now())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(o.dir+"/"+salvagedName, o.path()); err != nil {
		return err
	}
	o.stats.SetAside = setAside(o.dir)
	return durable.SyncDir(o.dir)
}

// repairLocked replaces a damaged file. The lock is held for as long as it takes to read the file once.
func (o *Outbox) repairLocked(cause error) error {
	o.opt.Logger.Error("outbox file is damaged: what can be read is salvaged, the file is set aside", "dir", o.dir, "error", cause)
	if err := o.finishRepair(); err != nil {
		return err
	}
	tmp := o.dir + "/" + salvagingName
	in, err := o.opt.OpenFile(o.path(), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read from
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := openFile(tmp, &o.opt, false)
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	s := &salvager{in: in, size: info.Size(), out: out, quota: o.opt.MaxBytes}
	if err = s.run(); err == nil {
		err = o.declareLocked(s)
	}
	if err = errors.Join(err, out.close()); err != nil {
		_ = os.Remove(tmp) // the next try removes it otherwise
		return fmt.Errorf("repair: %w", err)
	}
	if err := errors.Join(os.Rename(tmp, o.dir+"/"+salvagedName), durable.SyncDir(o.dir)); err != nil {
		return err
	}
	o.opt.Logger.Error("outbox file was repaired", "dir", o.dir, "kept", s.kept, "gaps", s.declared)
	return o.swap()
}

// declareLocked writes a gap for each loss into the salvaged file.
func (o *Outbox) declareLocked(s *salvager) error {
	o.adoptLocked(s.st)
	losses, err := s.losses(func(k key) bool {
		it := o.items[k]
		return it != nil && it.state == leaving
	})
	if err != nil {
		return err
	}
	b := &batch{serial: s.st.serial + serialJump, epoch: o.epoch}
	for i := range o.lane {
		b.base[i], b.tail[i] = o.lane[i].base, s.st.lane[i].tail
	}
	for _, x := range losses {
		l := x.gap.Lane
		id := o.gapIDLocked(l)
		own := o.lane[l].base + id.Seq
		at := key{l, own}
		for pos := x.last; pos >= x.first && pos > 0; pos-- {
			if o.items[key{l, pos}] == nil {
				at.pos = pos
				break
			}
		}
		o.reachLocked(b, at)
		o.reachLocked(b, key{l, own})
		b.gaps = append(b.gaps, gapPut{rec: gapRecord(at, id, x.gap, o.opt.Now().UnixNano()), gap: x.gap})
	}
	if err := s.out.apply(b); err != nil {
		for _, g := range b.gaps {
			l := &o.lane[g.gap.Lane]
			l.spare = append(l.spare, l.base+g.rec.id.Seq)
		}
		return err
	}
	s.declared = len(b.gaps)
	o.st = b.after
	for _, g := range b.gaps {
		l := &o.lane[g.gap.Lane]
		l.onDisk = max(l.onDisk, g.rec.key.pos)
		if g.rec.key.pos < l.next {
			o.giveBackLocked(&item{key: g.rec.key, id: g.rec.id})
		}
		l.gap = nil
	}
	return nil
}

// salvager copies what is whole in a damaged file.
type salvager struct {
	in    *os.File
	size  int64
	out   *file
	quota int64

	old      *state        // the newest state record that could be read
	stale    bool          // it may not be the last one
	st       state         // of the new file
	beyond   [lanes]uint64 // messages found that are newer than old
	kept     int
	declared int
	bad      int    // unreadable pages of the tree walked last
	hidden   uint64 // pages of the newest commit that cannot be read
	orphans  bool   // reading pages that no tree leads to
	pending  []salvaged
	bytes    int
}

type salvaged struct {
	bucket string
	k, v   []byte
}

func (s *salvager) run() error {
	metas, err := readMetas(s.in)
	if err != nil && len(metas) == 0 {
		return err
	}
	for i := range s.st.lane {
		s.st.lane[i].head = 1
	}
	for i, m := range metas {
		s.bad = 0
		w := &walker{p: &pages{r: s.in, size: s.size, meta: m}, leaf: s.leaf, bad: func(error) error { s.bad++; return nil }}
		s.stale = i > 0 || len(metas) < 2
		if err := w.file(); err != nil {
			return err
		}
		if i == 0 {
			end := uint64(s.size / pageSize)
			s.hidden = uint64(s.bad) + m.high - min(m.high, end)
		}
		if s.old != nil {
			break // an older tree would bring back what was acked since
		}
	}
	if s.bad > 0 || s.old == nil || s.stale {
		if err := s.scan(); err != nil {
			return err
		}
	}
	if err := s.flush(); err != nil {
		return err
	}
	if s.old != nil {
		s.st.serial = s.old.serial
		s.st.deadDropped, s.st.deadNext = s.old.deadDropped, max(s.st.deadNext, s.old.deadNext)
		for i := range s.st.lane {
			s.st.lane[i].tail = max(s.st.lane[i].tail, s.old.lane[i].tail)
		}
	}
	_, err = s.out.update(func(tx *bbolt.Tx) error {
		(&txn{q: tx.Bucket([]byte(bucketQueue)), st: &s.st}).heads()
		return tx.Bucket([]byte(bucketMeta)).Put([]byte(keyState), s.st.encode())
	})
	return err
}

// leaf takes what is whole. The first state record met is the newest.
func (s *salvager) leaf(bucket string, k, v []byte) error {
	switch bucket {
	case bucketMeta:
		if string(k) == keyFormat && len(v) == 4 && binary.BigEndian.Uint32(v) > formatVersion {
			return errNewer
		}
		if st, err := decodeState(v); string(k) == keyState && err == nil && s.old == nil {
			s.old = &st
		}
		return nil
	case bucketQueue:
		if !s.wants(k, v) {
			return nil // counted by what is missing in the end
		}
	case bucketEpochs:
		if _, ok := parseKey(k); !ok || len(v) != 8 {
			return nil
		}
	case bucketDead:
		if !soundDead(k, v) {
			return nil
		}
	}
	s.pending = append(s.pending, salvaged{bucket, append([]byte{}, k...), append([]byte{}, v...)})
	if s.bytes += len(v); s.bytes > commitBytes/4 {
		return s.flush()
	}
	return nil
}

// wants says whether to keep what may be a record.
func (s *salvager) wants(k, v []byte) bool {
	r, err := decode(k, v)
	return err == nil && (!s.orphans || !r.isGap() && !s.outside(&r))
}

func soundDead(k, v []byte) bool {
	_, err := decodeDead(v)
	return err == nil && len(k) == 8
}

// outside says that a record in a page that is not in use is certainly not missing.
func (s *salvager) outside(r *record) bool {
	if s.old == nil {
		return false
	}
	l := s.old.lane[r.key.lane]
	if r.key.pos > l.tail {
		return !s.stale // of the commit that the state record does not know yet
	}
	return s.bad == 0 || r.key.pos < l.head
}

// scan looks at every page of the file by itself: a bad branch hides good leaves. It may find messages that were acked; they
// arrive twice rather than others never.
func (s *salvager) scan() error {
	s.orphans = true
	n := s.size / pageSize
	p := &pages{r: s.in, size: s.size, meta: meta{high: uint64(n)}}
	for id := range uint64(n) {
		pg, err := p.page(id)
		if err != nil || pg.flags != flagLeaf {
			continue
		}
		es, _ := pg.elements() // the good ones; each record has a checksum of its own
		for _, e := range es {
			if !e.bucket && len(e.key) == keyLen {
				if err := s.leaf(bucketQueue, e.key, e.value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *salvager) flush() error {
	_, err := s.out.update(func(tx *bbolt.Tx) error {
		for _, p := range s.pending {
			if err := s.keep(tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	s.pending, s.bytes = nil, 0
	return err
}

func (s *salvager) keep(tx *bbolt.Tx, p salvaged) error {
	b := tx.Bucket([]byte(p.bucket))
	if b == nil || b.Get(p.k) != nil {
		return nil
	}
	switch p.bucket {
	case bucketQueue:
		r, err := decode(p.k, p.v)
		if err != nil {
			return err
		}
		s.kept++
		l := &s.st.lane[r.key.lane]
		l.add(&r)
		l.tail = max(l.tail, r.key.pos)
		if s.old != nil && r.key.pos > s.old.lane[r.key.lane].tail {
			s.beyond[r.key.lane]++
		}
		if !r.isGap() && r.key.pos >= r.id.Seq {
			first := key{r.key.lane, r.key.pos - r.id.Seq + 1}
			if err := tx.Bucket([]byte(bucketEpochs)).Put(first.bytes(), binary.BigEndian.AppendUint64(nil, r.id.Epoch)); err != nil {
				return err
			}
		}
	case bucketDead:
		s.st.dead++
		s.st.deadBytes += uint64(len(p.v))
		s.st.deadNext = max(s.st.deadNext, binary.BigEndian.Uint64(p.k))
	}
	return b.Put(p.k, p.v)
}
