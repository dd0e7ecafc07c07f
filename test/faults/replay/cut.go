package replay

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Unit is how much a disk writes in one piece.
type Unit int

// The usual units.
const (
	Sector Unit = 512
	Page   Unit = 4096
)

// Policy says what becomes of changes that were not synced when the power went.
type Policy struct {
	// Chance is how likely each piece is there all the same: 0 loses everything that was not synced, 1 nothing.
	Chance float64
	// Unit is the piece that is there or not. Default: Page.
	Unit Unit
	// AnyOrder lets entries of directories be there without those that were made before, which no journal does.
	AnyOrder bool
	// Rand draws. It may be nil when Chance is 0 or 1.
	Rand *rand.Rand
}

func (p *Policy) keep() bool { return p.Chance >= 1 || p.Chance > 0 && p.Rand.Float64() < p.Chance }

// Image is what a disk holds: files and folders by name.
type Image struct {
	files map[string][]byte
	dirs  map[string]*Image
}

// Cut returns what the disk may hold when the power goes before the line cut of the trace.
func (d *Disk) Cut(cut int, p Policy) *Image {
	if p.Unit == 0 {
		p.Unit = Page
	}
	return d.root.image(cut, &p)
}

// image draws the entries that are there, and looks into them.
func (n *node) image(cut int, p *Policy) *Image {
	entries := map[string]*node{}
	lost := false // the journal's end: nothing later is there
	blocked := map[string]bool{}
	for _, o := range n.ops {
		switch {
		case o.durable < cut:
		case o.begin >= cut:
			continue
		case lost, blocked[o.gone], blocked[o.name], !p.keep():
			lost = !p.AnyOrder
			for _, name := range []string{o.gone, o.name} {
				blocked[name] = name != ""
			}
			continue
		}
		if o.gone != "" {
			delete(entries, o.gone)
		}
		if o.child != nil {
			entries[o.name] = o.child
		}
	}
	im := &Image{files: map[string][]byte{}, dirs: map[string]*Image{}}
	for name, child := range entries {
		if child.dir {
			im.dirs[name] = child.image(cut, p)
		} else {
			im.files[name] = child.content(cut, p)
		}
	}
	return im
}

// content follows two copies: the page cache takes every change at once, the disk takes pieces of the cache, as they are at that moment, when a change is synced and, by chance,
// at any other. So no piece is ever on the disk that was never in the cache.
func (n *node) content(cut int, p *Policy) []byte {
	var cache, disk []byte
	size := int64(0) // on the disk; what disk holds beyond was written before the size was
	for _, o := range n.ops {
		certain := o.durable < cut
		if !certain && o.begin >= cut {
			continue
		}
		if o.data == nil {
			cache = resize(cache, o.size)
			if certain || p.keep() {
				size = o.size
				clear(disk[min(size, int64(len(disk))):])
			}
			continue
		}
		end := o.off + int64(len(o.data))
		cache = resize(cache, max(end, int64(len(cache))))
		copy(cache[o.off:], o.data)
		disk = resize(disk, max(int64(len(disk)), int64(len(cache))))
		for at := o.off / int64(p.Unit) * int64(p.Unit); at < end; at += int64(p.Unit) {
			if certain || p.keep() {
				to := min(at+int64(p.Unit), int64(len(cache)))
				copy(disk[at:to], cache[at:to])
			}
		}
		if certain || end > size && p.keep() {
			size = max(size, int64(len(cache)))
		}
	}
	return resize(disk, size)
}

// resize cuts b, or makes it longer with zeros.
func resize(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return b[:n]
	}
	if n <= int64(cap(b)) {
		old := len(b)
		b = b[:n]
		clear(b[old:])
		return b
	}
	c := make([]byte, n, n+n/4)
	copy(c, b)
	return c
}

// WriteTo makes the files and folders in dir, which must exist. Pages of zeros become holes.
func (im *Image) WriteTo(dir string) error {
	for name, sub := range im.dirs {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := sub.WriteTo(path); err != nil {
			return err
		}
	}
	for name, b := range im.files {
		if err := writeSparse(filepath.Join(dir, name), b); err != nil {
			return err
		}
	}
	return nil
}

func writeSparse(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	if err := f.Truncate(int64(len(b))); err != nil {
		return err
	}
	zero := make([]byte, Page)
	for at := 0; at < len(b); at += int(Page) {
		piece := b[at:min(at+int(Page), len(b))]
		if bytes.Equal(piece, zero[:len(piece)]) {
			continue
		}
		if _, err := f.WriteAt(piece, int64(at)); err != nil {
			return err
		}
	}
	return nil
}
