package outbox_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// ruin changes a file in place, as a dying card does under the map of an open outbox.
func ruins() map[string]func(f *os.File, size int64) error {
	over := func(f *os.File, from, to int64, b byte) error {
		p := make([]byte, page)
		for i := range p {
			p[i] = b * byte(i)
		}
		for at := from; at < to; at += page {
			if _, err := f.WriteAt(p, at); err != nil {
				return err
			}
		}
		return nil
	}
	return map[string]func(*os.File, int64) error{
		"all zeroed":       func(f *os.File, size int64) error { return over(f, 0, size, 0) },
		"all but metas":    func(f *os.File, size int64) error { return over(f, 2*page, size, 0) },
		"second half":      func(f *os.File, size int64) error { return over(f, size/2/page*page, size, 7) },
		"one page":         func(f *os.File, size int64) error { return over(f, size/2/page*page, size/2/page*page+1, 0) },
		"truncated":        func(f *os.File, _ int64) error { return f.Truncate(0) },
		"truncated behind": func(f *os.File, size int64) error { return f.Truncate(size / 2) },
		"metas left":       func(f *os.File, _ int64) error { return f.Truncate(2 * page) },
		"overflows":        func(f *os.File, size int64) error { return each(f, 12, 4, size) },
		"lengths":          func(f *os.File, size int64) error { return each(f, 16+8, 8, size) },
		"removed":          func(f *os.File, _ int64) error { return os.Remove(f.Name()) },
	}
}

// each sets n bytes at an offset of each page but the first two.
func each(f *os.File, at int64, n int, size int64) error {
	for id := int64(2); id < size/page; id++ {
		if _, err := f.WriteAt(bytes.Repeat([]byte{0x55}, n), id*page+at); err != nil {
			return err
		}
	}
	return nil
}

// TestDamageWhileOpen spoils each file under an open outbox, before anything was handed out and in the middle.
func TestDamageWhileOpen(t *testing.T) {
	s := newStock(t)
	for name, file := range s.files {
		for way, spoil := range ruins() {
			for _, after := range []int{0, 300, 900} {
				t.Run(name+"/"+way, func(t *testing.T) {
					t.Parallel()
					dir := s.with(t, "", nil)
					q, err := outbox.Open(dir, s.opt())
					if err != nil {
						t.Fatal(err)
					}
					d := s.drained()
					d.control = name == "control.db"
					for n := 0; n < after; n += 50 {
						for _, e := range next(t, q, 50) {
							d.take(t, e)
							if err := q.Ack(e.ID); err != nil {
								t.Fatal(err)
							}
						}
					}
					// A card changes nothing between two looks at one page, as a write in the middle of a commit does here.
					if err := q.Sync(t.Context()); err != nil {
						t.Fatal(err)
					}
					f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
					if errors.Is(err, fs.ErrNotExist) {
						t.Skip("it was drained and removed before") // in some of the cases
					}
					if err != nil {
						t.Fatal(err)
					}
					err = errors.Join(spoil(f, int64(len(file))), f.Close())
					if errors.Is(err, fs.ErrNotExist) {
						t.Skip("it was drained and removed meanwhile")
					}
					if err != nil {
						t.Fatal(err)
					}
					ids := put(t, q, outbox.Bulk, "put into what is damaged")
					d.s = s.plus(ids[0], "put into what is damaged")
					d.drain(t, q)
					d.judge(t)
					if d.got[ids[0]] && d.control && len(d.gaps) > 0 {
						t.Errorf("all is in memory, and yet there are gaps: %s", show(d.gaps))
					}
					if err := q.Close(); err != nil {
						t.Fatal(err)
					}
					if outbox.Verify(dir) != nil { // no read met it: the next one to open does
						open(t, dir, s.opt())
					}
				})
			}
		}
	}
}

// TestRepair: a check finds what is damaged and changes nothing, a repair mends it, and then nothing is found.
func TestRepair(t *testing.T) {
	s := newStock(t)
	for name, file := range s.files {
		for way, spoil := range ruins() {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				if name == "control.db" && way == "one page" {
					t.Skip("the page may be a free one")
				}
				dir := s.with(t, "", nil)
				q, err := outbox.Open(dir, s.opt())
				if err != nil {
					t.Fatal(err)
				}
				if r, err := q.Check(t.Context()); err != nil || !r.Sound() || len(r.Files) != len(s.files) {
					t.Fatalf("the sound one: %+v, %v", r, err)
				}
				f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(spoil(f, int64(len(file))), f.Close()); err != nil {
					t.Fatal(err)
				}
				r, err := q.Check(t.Context())
				if way == "one page" && err == nil && r.Sound() { // how the commits fell when the stock was made decides which pages are in use
					if err := q.Close(); err != nil {
						t.Fatal(err)
					}
					t.Skip("the page is a free one")
				}
				if err != nil || problem(r, name) == "" {
					t.Errorf("check: %+v, %v", r, err)
				}
				r, err = q.Repair(t.Context())
				if err != nil || problem(r, name) == "" {
					t.Errorf("repair: %+v, %v", r, err)
				}
				lost := uint64(0)
				for _, f := range r.Files {
					lost += f.Lost
					if f.Problem != "" && !f.Repaired {
						t.Errorf("not repaired: %+v", f)
					}
				}
				if r, err := q.Check(t.Context()); err != nil || !r.Sound() {
					t.Errorf("after the repair: %+v, %v", r, err)
				}
				d := s.drained()
				d.control = name == "control.db"
				d.drain(t, q)
				if n := d.judge(t); n != lost {
					t.Errorf("%d lost, the report says %d", n, lost)
				}
				if err := q.Close(); err != nil {
					t.Fatal(err)
				}
				outboxtest.Check(t, dir)
			})
		}
	}
}

func problem(r outbox.Report, name string) string {
	for _, f := range r.Files {
		if f.Name == name {
			return f.Problem
		}
	}
	return ""
}
