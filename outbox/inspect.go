package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Stats returns the present counts. It never touches the disk. Gaps count as entries; what is acked counts as gone at once in Queued,
// with the next commit in Bytes and Oldest.
func (o *Outbox) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats
	s.Epoch = o.epoch
	fillStats(&s, &o.st)
	for _, k := range o.acked {
		s.Queued[k.lane] -= min(s.Queued[k.lane], 1)
	}
	for i := range o.lane {
		for _, m := range o.lane[i].staged {
			if m.gone || m.onDisk {
				continue
			}
			s.RAMOnly++
			if s.Queued[i] == 0 || s.Oldest[i].IsZero() {
				s.Oldest[i] = time.Unix(0, m.rec.put).UTC()
			}
			s.Queued[i]++
			s.Bytes[i] += uint64(len(m.rec.body))
		}
		if s.Queued[i] == 0 {
			s.Bytes[i], s.Oldest[i] = 0, time.Time{}
		}
	}
	s.InFlight = len(o.flight)
	s.QuotaBytes = o.opt.MaxBytes
	s.Degraded = o.degraded
	s.SetAside = append([]string(nil), s.SetAside...)
	return s
}

func fillStats(s *Stats, st *state) {
	for i := range st.lane {
		l := &st.lane[i]
		s.Queued[i], s.Bytes[i] = l.count, l.bytes
		s.Oldest[i] = time.Time{}
		if l.oldest != 0 && l.count > 0 {
			s.Oldest[i] = time.Unix(0, int64(l.oldest)).UTC()
		}
	}
	s.Dead, s.DeadDropped = st.dead, st.deadDropped
}

// Inspect returns the counts of an outbox that no process has open; ErrLocked if one has. It changes nothing, and reads a few pages at any
// length. A directory or file that does not exist yet is an empty outbox.
func Inspect(dir string) (Stats, error) {
	var s Stats
	lock, err := lockDir(dir, unix.LOCK_SH, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("outbox %s: %w", dir, err)
	}
	defer func() { _ = lock.Close() }() // a lock, nothing written
	s.SetAside = setAside(dir)
	fd, err := os.Open(filepath.Join(dir, fileName))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("outbox %w", err)
	}
	defer func() { _ = fd.Close() }() // only read from
	info, err := fd.Stat()
	if err != nil {
		return s, fmt.Errorf("outbox %w", err)
	}
	s.DiskBytes = allocated(info)
	if info.Size() == 0 {
		return s, nil
	}
	metas, err := readMetas(fd)
	if len(metas) == 0 {
		return s, fmt.Errorf("outbox %s: damaged, the next start sets it aside: %w", fd.Name(), errors.Join(errState, err))
	}
	st, err := (&pages{r: fd, size: info.Size(), meta: metas[0]}).readState()
	if err != nil {
		return s, fmt.Errorf("outbox %s: damaged, the next start sets it aside: %w", fd.Name(), err)
	}
	fillStats(&s, &st)
	return s, nil
}

// Verify reads every page and record of an outbox that no process has open and returns an error for whatever does not fit: pages,
// checksums, counts, order within the lanes, ids used twice.
func Verify(dir string) error {
	lock, err := lockDir(dir, unix.LOCK_SH, 0)
	if err != nil {
		return fmt.Errorf("outbox %s: %w", dir, err)
	}
	defer func() { _ = lock.Close() }() // a lock, nothing written
	fd, err := os.Open(filepath.Join(dir, fileName))
	if err != nil {
		return fmt.Errorf("outbox %w", err)
	}
	defer func() { _ = fd.Close() }() // only read from
	info, err := fd.Stat()
	if err != nil {
		return fmt.Errorf("outbox %w", err)
	}
	if err := verify(fd, info.Size()); err != nil {
		return fmt.Errorf("outbox %s: %w", fd.Name(), err)
	}
	metas, err := readMetas(fd)
	if err != nil {
		return fmt.Errorf("outbox %s: %w", fd.Name(), err)
	}
	v := &verifier{ids: make(map[ID]bool)}
	w := &walker{p: &pages{r: fd, size: info.Size(), meta: metas[0]}, leaf: v.leaf, bad: func(err error) error { return err }}
	if err := errors.Join(w.file(), v.finish()); err != nil {
		return fmt.Errorf("outbox %s: %w", fd.Name(), err)
	}
	return nil
}

// verifier counts what the file holds beside what its state record says.
type verifier struct {
	st, said state
	found    bool
	ids      map[ID]bool
	last     map[uint64]record // by epoch and lane
}

func (v *verifier) leaf(bucket string, k, val []byte) (err error) {
	switch bucket {
	case bucketMeta:
		if string(k) == keyState {
			v.found = true
			v.said, err = decodeState(val)
		}
		return err
	case bucketDead:
		v.st.dead++
		v.st.deadBytes += uint64(len(val))
		_, err = decodeDead(val)
		return err
	case bucketQueue:
		return v.record(k, val)
	}
	return nil
}

func (v *verifier) record(k, val []byte) error {
	r, err := decode(k, val)
	if err != nil {
		return err
	}
	l := &v.st.lane[r.key.lane]
	if l.count == 0 {
		l.head, l.oldest = r.key.pos, uint64(r.put)
	}
	l.add(&r)
	l.tail = r.key.pos
	if v.ids[r.id] {
		return damaged("id %s is there twice", r.id)
	}
	v.ids[r.id] = true
	if r.isGap() {
		_, err = r.entry(false)
		return err
	}
	if v.last == nil {
		v.last = make(map[uint64]record)
	}
	seen := r.id.Epoch ^ uint64(r.id.Lane)<<62
	if old, ok := v.last[seen]; ok && (old.id.Seq >= r.id.Seq || r.key.pos-old.key.pos != r.id.Seq-old.id.Seq) {
		return damaged("%s follows %s", r.id, old.id)
	}
	r.body = nil
	v.last[seen] = r
	return nil
}

func (v *verifier) finish() error {
	if !v.found {
		return errState
	}
	if v.st.dead != v.said.dead || v.st.deadBytes != v.said.deadBytes {
		return damaged("%d dead letters of %d bytes, the state says %d of %d", v.st.dead, v.st.deadBytes, v.said.dead, v.said.deadBytes)
	}
	for i := range v.st.lane {
		got, want := v.st.lane[i], v.said.lane[i]
		if got.count == 0 {
			got.head = want.tail + 1
		}
		if got.tail > want.tail {
			return damaged("%s: position %d after the last, %d", Lane(i), got.tail, want.tail)
		}
		got.tail = want.tail
		if got != want {
			return damaged("%s: the state says %+v, found %+v", Lane(i), want, got)
		}
	}
	return nil
}
