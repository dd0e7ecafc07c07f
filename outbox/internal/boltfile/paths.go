package boltfile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Key is one of a bucket of the top level.
type Key struct {
	Bucket string
	Key    []byte
}

// checkPaths looks with plain reads at the pages that a transaction is about to change: those that lead to its keys, or every page when they are not
// known. bbolt trusts what stands in them: a wrong length or count of overflow pages makes it ask for memory without end, which nobody could catch.
// A read that fails is the disk's error, not damage.
func (f *File) checkPaths(keys []Key) error {
	info, err := f.fd.Stat()
	if err != nil {
		return err
	}
	r := &reader{r: f.fd}
	if err := checkPaths(r, info.Size(), keys); err != nil {
		return cmp.Or(r.err, err)
	}
	return nil
}

// reader remembers the first error that is not about the end of the file.
type reader struct {
	r   io.ReaderAt
	err error
}

func (r *reader) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.r.ReadAt(b, at)
	if err != nil && r.err == nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func checkPaths(r io.ReaderAt, size int64, keys []Key) error {
	if keys == nil {
		return Verify(r, size)
	}
	w := new(walker)
	if err := w.newest(r, size); err != nil {
		return err
	}
	for _, k := range keys {
		if err := w.p.path(k); err != nil {
			return fmt.Errorf("%s: %w", k.Bucket, err)
		}
	}
	return nil
}

// path goes down to where a key stands or would stand.
func (p *pages) path(k Key) error {
	top, err := p.descend(p.meta.root, []byte(k.Bucket))
	if err != nil {
		return err
	}
	for _, e := range top {
		if !e.bucket || string(e.key) != k.Bucket {
			continue
		}
		if len(e.value) < bucketHeader {
			return Damaged("bucket %q is cut short", e.key)
		}
		if root := binary.NativeEndian.Uint64(e.value); root != 0 {
			_, err = p.descend(root, k.Key)
			return err
		}
		_, err = inline(e.value)
		return err
	}
	return Damaged("no bucket %q", k.Bucket)
}

// descend returns the elements of the leaf of a tree where a key stands or would stand.
func (p *pages) descend(id uint64, key []byte) ([]element, error) {
	for range maxDepth {
		pg, err := p.page(id)
		if err != nil {
			return nil, err
		}
		es, err := pg.elements()
		if err != nil || pg.flags == flagLeaf {
			return es, err
		}
		if len(es) == 0 {
			return nil, Damaged("page %d is an empty branch", id)
		}
		id = es[0].child
		for _, e := range es[1:] {
			if bytes.Compare(e.key, key) > 0 {
				break
			}
			id = e.child
		}
	}
	return nil, Damaged("page %d lies too deep", id)
}
