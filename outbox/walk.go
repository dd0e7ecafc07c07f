package outbox

import (
	"encoding/binary"
	"errors"
	"io"
)

// walker goes through the trees of a file. leaf is called for each element that is no bucket, with the bucket it stands in; bad is
// called for each page that had to be left out, and ends the walk when it returns an error.
type walker struct {
	p    *pages
	leaf func(bucket string, k, v []byte) error
	bad  func(error) error
	seen map[uint64]bool
	// sparse leaves out the leaves of big buckets, but for the first and the last of each branch.
	sparse bool
}

// file walks everything.
func (w *walker) file() error {
	w.seen = make(map[uint64]bool)
	return w.tree("", w.p.meta.root, 0)
}

func (w *walker) tree(bucket string, id uint64, depth int) error {
	if w.seen[id] || depth > maxDepth {
		return w.bad(damaged("page %d is used twice", id))
	}
	w.seen[id] = true
	pg, err := w.p.page(id)
	if err != nil {
		return w.bad(err)
	}
	es, err := pg.elements()
	if err != nil {
		if err := w.bad(err); err != nil {
			return err
		}
	}
	if pg.flags == flagLeaf {
		return w.leaves(bucket, es, depth)
	}
	if len(es) == 0 {
		return w.bad(damaged("page %d is an empty branch", id))
	}
	leaves := w.sparse && w.isLeaf(es[0].child)
	for i, e := range es {
		if leaves && i > 0 && i < len(es)-1 {
			continue
		}
		if err := w.tree(bucket, e.child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) isLeaf(id uint64) bool {
	pg, err := w.p.page(id)
	return err == nil && pg.flags == flagLeaf
}

func (w *walker) leaves(bucket string, es []element, depth int) error {
	for _, e := range es {
		if !e.bucket {
			if err := w.leaf(bucket, e.key, e.value); err != nil {
				return err
			}
			continue
		}
		if err := w.bucket(string(e.key), e.value, depth); err != nil {
			return err
		}
	}
	return nil
}

// bucket walks a nested one: its value is {root u64, sequence u64} and, when root is 0, a page of its own right behind.
func (w *walker) bucket(name string, v []byte, depth int) error {
	if len(v) < 16 {
		return w.bad(damaged("bucket %q is cut short", name))
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		return w.tree(name, root, depth+1)
	}
	if len(v) < 16+pageHeader {
		return w.bad(damaged("bucket %q is cut short", name))
	}
	inline := page{
		b: v[16:], flags: binary.NativeEndian.Uint16(v[16+8:]), count: int(binary.NativeEndian.Uint16(v[16+10:])),
	}
	es, err := inline.elements()
	if err != nil {
		if err := w.bad(err); err != nil {
			return err
		}
	}
	return w.leaves(name, es, depth+1)
}

// verifyLimit is up to where every page is read at Open; of larger files only the branches and some leaves are,
// so that a full queue does not hold up the start on a slow card.
const verifyLimit = 64 << 20

// verify checks the structure of what bbolt would trust: meta, size, freelist, trees. It returns a damage error.
func verify(r io.ReaderAt, size int64) error { return verifyUpTo(r, size, verifyLimit) }

func verifyUpTo(r io.ReaderAt, size int64, limit uint64) error {
	metas, err := readMetas(r)
	if len(metas) == 0 {
		if err != nil {
			return err
		}
		return damaged("no valid meta page")
	}
	if len(metas) == 1 { // bbolt would go on one commit back without a word
		return damaged("one of the two meta pages is not valid")
	}
	p := &pages{r: r, size: size, meta: metas[0]}
	if p.meta.high > 1<<40 || int64(p.meta.high)*pageSize > size {
		return damaged("cut short: %d bytes of %d pages", size, p.meta.high)
	}
	if err = p.verifyFreelist(); err != nil {
		return err
	}
	w := &walker{
		p: p, sparse: p.meta.high*pageSize > limit,
		leaf: func(string, []byte, []byte) error { return nil },
		bad:  func(err error) error { return err },
	}
	return w.file()
}

// verifyFreelist makes sure that bbolt will not hand out pages that do not exist.
func (p *pages) verifyFreelist() error {
	pg, err := p.page(p.meta.freelist)
	if err != nil {
		return err
	}
	if pg.flags != flagFree {
		return damaged("page %d is no freelist", p.meta.freelist)
	}
	ids, count := pg.b[pageHeader:], pg.count
	if count == 0xFFFF { // the real count did not fit the header
		n := binary.NativeEndian.Uint64(ids)
		if n > uint64(len(ids)/8) {
			return damaged("freelist of %d pages does not fit", n)
		}
		ids, count = ids[8:], int(n)
	}
	if count*8 > len(ids) {
		return damaged("freelist of %d pages does not fit", count)
	}
	last := uint64(1)
	for i := range count {
		id := binary.NativeEndian.Uint64(ids[8*i:])
		if id <= last || id >= p.meta.high {
			return damaged("freelist names page %d", id)
		}
		last = id
	}
	return nil
}

// readState returns the state record that the meta leads to. It reads the root page and what is inline in it, never the queue.
func (p *pages) readState() (state, error) {
	var st state
	err := errState
	w := &walker{p: p, seen: make(map[uint64]bool), bad: func(err error) error { return err }}
	w.leaf = func(_ string, k, v []byte) error {
		if string(k) == keyState {
			st, err = decodeState(v)
		}
		return nil
	}
	return st, errors.Join(w.only(bucketMeta), err)
}

// only walks one top-level bucket.
func (w *walker) only(name string) error {
	pg, err := w.p.page(w.p.meta.root)
	if err != nil {
		return err
	}
	es, err := pg.elements()
	if err != nil {
		return err
	}
	for _, e := range es {
		if e.bucket && string(e.key) == name {
			return w.bucket(name, e.value, 0)
		}
	}
	return errState
}
