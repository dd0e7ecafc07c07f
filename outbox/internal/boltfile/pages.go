package boltfile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"slices"
)

// pages reads a bbolt file with plain reads and checks every bound, so that no damage can make it fault, panic or loop.
//
// The format (bbolt, internal/common): 16-byte page headers {id u64, flags u16, count u16, overflow u32} in the machine's byte
// order; two meta pages; branch and leaf elements of 16 bytes that point at their keys relative to themselves.
type pages struct {
	r    io.ReaderAt
	size int64
	meta meta
}

type meta struct {
	root, freelist, high, tx uint64
}

const (
	pageHeader = 16
	// bucketHeader is {root u64, sequence u64} at the start of a bucket's value.
	bucketHeader = 16
	elementLen   = 16
	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFree     = 0x10
	bucketFlag   = 0x01
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	maxDepth     = 32
	maxOverflow  = 1 << 16 // pages; 256 MiB in one value
	maxHigh      = 1 << 40 // pages
)

// readMetas returns the valid meta pages, newest first. The error is the disk's, never damage, and only when none is valid.
func readMetas(r io.ReaderAt) (found []meta, err error) {
	for i := range int64(2) {
		var b [pageHeader + 64]byte
		if _, rerr := r.ReadAt(b[:], i*PageSize); rerr != nil {
			if !errors.Is(rerr, io.EOF) {
				err = errors.Join(err, rerr)
			}
			continue // the other one may do
		}
		m, ne := b[pageHeader:], binary.NativeEndian
		sum := fnv.New64a()
		_, _ = sum.Write(m[:56]) // a hash never fails
		if ne.Uint32(m) != metaMagic || ne.Uint32(m[4:]) != metaVersion || ne.Uint32(m[8:]) != PageSize || ne.Uint64(m[56:]) != sum.Sum64() {
			continue
		}
		if ne.Uint64(b[:]) != uint64(i) || ne.Uint64(m[48:])%2 != uint64(i) {
			continue // written in the wrong place: bbolt takes turns
		}
		found = append(found, meta{root: ne.Uint64(m[16:]), freelist: ne.Uint64(m[32:]), high: ne.Uint64(m[40:]), tx: ne.Uint64(m[48:])})
	}
	slices.SortFunc(found, func(a, b meta) int { return cmp.Compare(b.tx, a.tx) })
	if len(found) > 0 {
		return found, nil
	}
	return nil, err
}

// page is one page with its overflow, its header checked.
type page struct {
	b        []byte
	flags    uint16
	count    int
	overflow uint32
}

func (p *pages) page(id uint64) (page, error) {
	if id < 2 || id >= p.meta.high || id >= uint64(p.size/PageSize) {
		return page{}, Damaged("page %d is outside the file", id)
	}
	off, b := int64(id)*PageSize, make([]byte, PageSize)
	if _, err := p.r.ReadAt(b, off); err != nil {
		return page{}, Damaged("page %d: %w", id, err)
	}
	pg := page{
		b: b, flags: binary.NativeEndian.Uint16(b[8:]), count: int(binary.NativeEndian.Uint16(b[10:])),
		overflow: binary.NativeEndian.Uint32(b[12:]),
	}
	last := id + uint64(pg.overflow)
	if binary.NativeEndian.Uint64(b) != id || pg.overflow > maxOverflow || last >= p.meta.high || last >= uint64(p.size/PageSize) {
		return page{}, Damaged("page %d has a bad header", id)
	}
	if pg.overflow > 0 {
		pg.b = make([]byte, PageSize*(int(pg.overflow)+1))
		if _, err := p.r.ReadAt(pg.b, off); err != nil {
			return page{}, Damaged("page %d: %w", id, err)
		}
	}
	return pg, nil
}

// element is one of a leaf or branch page; child is set for branches.
type element struct {
	key, value []byte
	bucket     bool
	child      uint64
}

// elements returns what stands in a leaf or branch page, without what points outside of it. The error says what was wrong: that, or
// keys out of order.
func (pg *page) elements() (es []element, err error) {
	if pg.flags != flagBranch && pg.flags != flagLeaf {
		return nil, Damaged("page of type %#x where a leaf or branch should be", pg.flags)
	}
	n := min(pg.count, (len(pg.b)-pageHeader)/elementLen)
	if n < pg.count {
		err = Damaged("%d elements do not fit their page", pg.count)
	}
	es = make([]element, 0, n)
	for i := range n {
		e, ok := pg.element(pageHeader + i*elementLen)
		if !ok {
			err = Damaged("element %d points outside its page", i)
			continue
		}
		if last := len(es) - 1; last >= 0 && bytes.Compare(es[last].key, e.key) >= 0 {
			err = Damaged("keys out of order in a page")
		}
		es = append(es, e)
	}
	return es, err
}

func (pg *page) element(at int) (e element, ok bool) {
	h, ne := pg.b[at:], binary.NativeEndian
	var pos, klen, vlen uint64
	if pg.flags == flagBranch {
		pos, klen, e.child = uint64(ne.Uint32(h)), uint64(ne.Uint32(h[4:])), ne.Uint64(h[8:])
	} else {
		pos, klen, vlen = uint64(ne.Uint32(h[4:])), uint64(ne.Uint32(h[8:])), uint64(ne.Uint32(h[12:]))
		e.bucket = ne.Uint32(h)&bucketFlag != 0
	}
	start := uint64(at) + pos
	if start+klen+vlen > uint64(len(pg.b)) {
		return e, false
	}
	e.key, e.value = pg.b[start:start+klen], pg.b[start+klen:start+klen+vlen]
	return e, true
}

// noFreelist stands for the page of a list that was not written: all pages that no tree leads to are free.
const noFreelist = ^uint64(0)

// freelist returns the free pages, having made sure that bbolt will not hand out pages that do not exist.
func (p *pages) freelist() (free []uint64, overflow uint32, err error) {
	pg, err := p.page(p.meta.freelist)
	if err != nil {
		return nil, 0, err
	}
	if pg.flags != flagFree {
		return nil, 0, Damaged("page %d is no freelist", p.meta.freelist)
	}
	ids, count := pg.b[pageHeader:], uint64(pg.count)
	if count == 0xFFFF { // the real count did not fit the header
		count = binary.NativeEndian.Uint64(ids)
		ids = ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return nil, 0, Damaged("freelist of %d pages does not fit", count)
	}
	free = make([]uint64, count)
	last := uint64(1)
	for i := range free {
		id := binary.NativeEndian.Uint64(ids[8*i:])
		if id <= last || id >= p.meta.high {
			return nil, 0, Damaged("freelist names page %d", id)
		}
		free[i], last = id, id
	}
	return free, pg.overflow, nil
}
