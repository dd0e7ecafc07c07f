package boltfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Walk reads the newest tree with plain reads. leaf is called for each element that is no bucket, in the order of the keys, with the
// innermost bucket it stands in; bad is called for each page that had to be left out, and for a newest commit that may be lost. Either
// ends the walk when it returns an error, and Walk returns that.
func Walk(r io.ReaderAt, size int64, leaf func(bucket string, k, v []byte) error, bad func(error) error) error {
	w := &walker{leaf: leaf, bad: bad}
	if err := w.newest(r, size); err != nil {
		if err := bad(err); err != nil || w.p == nil {
			return err
		}
	}
	return w.tree("", w.p.meta.root, span{}, 0)
}

// WalkPrevious is Walk for the commit before the newest, whose pages stay until the next commit begins to overwrite them. Without two valid
// meta pages there is nothing to walk.
func WalkPrevious(r io.ReaderAt, size int64, leaf func(bucket string, k, v []byte) error, bad func(error) error) error {
	metas, err := readMetas(r)
	if len(metas) < 2 {
		return err
	}
	w := &walker{leaf: leaf, bad: bad, seen: make(map[uint64]bool), p: &pages{r: r, size: size, meta: metas[1]}}
	return w.tree("", metas[1].root, span{}, 0)
}

// Orphans calls leaf for what stands in each leaf page of the file by itself, in use or not: a bad branch hides good leaves. Only
// elements that point outside their page are left out, so the caller must have a checksum of its own.
func Orphans(r io.ReaderAt, size int64, leaf func(k, v []byte) error) error {
	n := uint64(size / PageSize)
	p := &pages{r: r, size: size, meta: meta{high: n}}
	for id := range n {
		pg, err := p.page(id)
		if err != nil || pg.flags != flagLeaf {
			continue
		}
		es, _ := pg.elements() // the good ones
		for _, e := range es {
			if e.bucket {
				continue
			}
			if err := leaf(e.key, e.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// Verify reads every page of the newest tree and returns a Damage error for what is wrong, or the disk's own.
func Verify(r io.ReaderAt, size int64) error {
	w := &walker{
		leaf: func(string, []byte, []byte) error { return nil },
		bad:  func(err error) error { return err },
	}
	return w.verify(r, size)
}

// walker goes through the trees of a file.
type walker struct {
	p    *pages
	leaf func(bucket string, k, v []byte) error
	bad  func(error) error
	seen map[uint64]bool
	// sparse leaves out the leaves of big buckets, but for the first and the last of each branch.
	sparse bool
	// names takes the buckets of the top level, unless it is nil.
	names map[string]bool
}

// newest finds the newest commit. With an error, p is set if there is one at all.
func (w *walker) newest(r io.ReaderAt, size int64) error {
	w.seen = make(map[uint64]bool)
	metas, err := readMetas(r)
	if len(metas) == 0 {
		if err != nil {
			return err
		}
		return Damaged("no valid meta page")
	}
	m := metas[0]
	w.p = &pages{r: r, size: size, meta: m}
	if len(metas) == 1 { // bbolt would go on one commit back without a word
		return Damaged("%w", ErrMetaLost)
	}
	if m.high > maxHigh || int64(m.high)*PageSize > size {
		return Damaged("cut short: %d bytes of %d pages", size, m.high)
	}
	return nil
}

// verify walks the trees and holds the freelist against them.
func (w *walker) verify(r io.ReaderAt, size int64) error {
	if err := w.newest(r, size); err != nil {
		return err
	}
	if w.p.meta.freelist == noFreelist {
		return w.tree("", w.p.meta.root, span{}, 0)
	}
	free, overflow, err := w.p.freelist()
	if err != nil {
		return err
	}
	for i := range uint64(overflow) + 1 {
		w.seen[w.p.meta.freelist+i] = true
	}
	if err := w.tree("", w.p.meta.root, span{}, 0); err != nil {
		return err
	}
	for _, id := range free {
		if w.seen[id] {
			return Damaged("page %d is both free and in use", id)
		}
	}
	if n := 2 + len(w.seen) + len(free); !w.sparse && uint64(n) != w.p.meta.high {
		return Damaged("%d of %d pages are neither free nor in use", w.p.meta.high-uint64(n), w.p.meta.high)
	}
	return nil
}

// claim marks pages as used, each at most once.
func (w *walker) claim(id uint64, overflow uint32) error {
	for i := range uint64(overflow) + 1 {
		if w.seen[id+i] {
			return Damaged("page %d is used twice", id+i)
		}
		w.seen[id+i] = true
	}
	return nil
}

// span is where the keys of a page must lie: at from and after it, before to; nil is no bound.
type span struct{ from, to []byte }

func (s span) check(es []element) error {
	if len(es) == 0 {
		return nil
	}
	if bytes.Compare(es[0].key, s.from) < 0 || s.to != nil && bytes.Compare(es[len(es)-1].key, s.to) >= 0 {
		return Damaged("keys of a page lie outside of what its branch says")
	}
	return nil
}

func (w *walker) tree(bucket string, id uint64, within span, depth int) error {
	if depth > maxDepth {
		return w.bad(Damaged("page %d lies too deep", id))
	}
	pg, err := w.p.page(id)
	if err == nil {
		err = w.claim(id, pg.overflow)
	}
	if err != nil {
		return w.bad(err)
	}
	es, err := pg.elements()
	if err == nil {
		err = within.check(es)
	}
	if err != nil {
		if err := w.bad(fmt.Errorf("page %d: %w", id, err)); err != nil {
			return err
		}
	}
	if pg.flags == flagLeaf {
		return w.leaves(bucket, es, depth)
	}
	if len(es) == 0 {
		return w.bad(Damaged("page %d is an empty branch", id))
	}
	return w.branch(bucket, es, within.to, depth)
}

func (w *walker) branch(bucket string, es []element, end []byte, depth int) error {
	leaves := w.sparse && w.isLeaf(es[0].child)
	for i, e := range es {
		if leaves && i > 0 && i < len(es)-1 {
			if err := w.claim(e.child, 0); err != nil {
				return w.bad(err)
			}
			continue
		}
		within := span{e.key, end}
		if i < len(es)-1 {
			within.to = es[i+1].key
		}
		if err := w.tree(bucket, e.child, within, depth+1); err != nil {
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
		if bucket == "" && w.names != nil {
			w.names[string(e.key)] = true
		}
		if err := w.bucket(string(e.key), e.value, depth); err != nil {
			return err
		}
	}
	return nil
}

// bucket walks a nested one: its value is {root u64, sequence u64} and, when root is 0, a page of its own right behind.
func (w *walker) bucket(name string, v []byte, depth int) error {
	if len(v) < bucketHeader || depth > maxDepth {
		return w.bad(Damaged("bucket %q is cut short", name))
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		return w.tree(name, root, span{}, depth+1)
	}
	es, err := inline(v)
	if err != nil {
		if err := w.bad(fmt.Errorf("bucket %q: %w", name, err)); err != nil {
			return err
		}
	}
	return w.leaves(name, es, depth+1)
}

// inline returns the good elements of a bucket that is kept in its parent's page; the error says what was wrong.
func inline(v []byte) ([]element, error) {
	if len(v) < bucketHeader+pageHeader {
		return nil, Damaged("cut short")
	}
	h := v[bucketHeader:]
	pg := page{b: h, flags: binary.NativeEndian.Uint16(h[8:]), count: int(binary.NativeEndian.Uint16(h[10:]))}
	if pg.flags != flagLeaf {
		return nil, Damaged("no leaf")
	}
	return pg.elements()
}
