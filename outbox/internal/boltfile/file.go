// Package boltfile opens bbolt files so that no damage can take the process down. bbolt maps its file and trusts it: a cut file is a
// SIGBUS, a bad page a panic or an endless loop. Here a file is checked with plain reads before it is mapped, and what still
// comes out of bbolt as a panic or a memory fault becomes a Damage error.
package boltfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// PageSize is that of every file, also where the system's pages are larger, so that files can move between machines.
const PageSize = 4096

// File is an open bbolt file. Updates exclude each other; views run beside them.
type File struct {
	db *bbolt.DB
	fd *os.File
	// fresh: Open made it.
	fresh bool

	writing  sync.Mutex  // held by Update
	starting sync.Mutex  // held while bbolt begins a transaction
	broken   atomic.Bool // a panic came out of bbolt: it is used no more
	stuck    atomic.Bool // and its locks may be held for ever
	used     atomic.Int64
}

// protect runs fn and turns a panic or a memory fault (a page of the map that the disk cannot deliver) into a damage error.
func (f *File) protect(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			f.broken.Store(true)
			err = Damaged("bbolt: %v", p)
		}
	}()
	return fn()
}

// guard is protect, but lets nothing happen after a first panic.
func (f *File) guard(fn func() error) (err error) {
	if f.broken.Load() {
		return Damaged("bbolt failed in this file before")
	}
	return f.protect(fn)
}

// reach reads from the two pages that bbolt looks at, with its locks held, when a transaction begins. A fault there would leave the locks held, and a
// commit under way would wait for them for ever; a plain read fails in its place.
func (f *File) reach() error {
	if f.fd == nil {
		return nil
	}
	var b [1]byte
	for _, at := range []int64{0, PageSize} {
		switch _, err := f.fd.ReadAt(b[:], at); {
		case errors.Is(err, io.EOF):
			f.broken.Store(true)
			return Damaged("cut short")
		case err != nil:
			return err
		}
	}
	return nil
}

// begin starts a transaction. The lock lets nobody wait inside bbolt for somebody who panicked there.
func (f *File) begin(writable bool) (tx *bbolt.Tx, err error) {
	f.starting.Lock()
	defer f.starting.Unlock()
	if err := f.reach(); err != nil {
		return nil, err
	}
	inside := false
	err = f.guard(func() (err error) {
		inside = true
		tx, err = f.db.Begin(writable)
		inside = false
		return err
	})
	if inside {
		f.stuck.Store(true)
	}
	return tx, err
}

// View runs fn in a read transaction. What fn sees is valid until it returns. A Damage error that fn did not make itself ends all
// use of the file but Close.
func (f *File) View(fn func(*bbolt.Tx) error) error {
	tx, err := f.begin(false)
	if err != nil {
		return err
	}
	err = f.guard(func() error { return fn(tx) })
	return errors.Join(err, f.rollback(tx))
}

// Update runs fn in a write transaction and commits it when fn returns nil; written is how many bytes of pages the commit wrote. keys are what fn may
// put or delete, nil when that is not known: what leads there is looked at first, and damage found so leaves the file as it was.
// After any other error that fn did not return the file may not be what the disk holds: close it, and open it again.
func (f *File) Update(keys []Key, fn func(*bbolt.Tx) error) (written uint64, err error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	if err := f.checkPaths(keys); err != nil {
		return 0, err
	}
	tx, err := f.begin(true)
	if err != nil {
		return 0, err
	}
	if err = f.guard(func() error { return fn(tx) }); err != nil {
		return 0, errors.Join(err, f.rollback(tx))
	}
	if err = f.guard(tx.Commit); err != nil {
		if f.broken.Load() {
			err = errors.Join(err, f.rollback(tx))
		}
		return 0, err
	}
	st := tx.Stats()
	return uint64(max(st.GetPageAlloc(), 0)) + PageSize, f.measure()
}

// rollback ends a transaction, also after a panic in it.
func (f *File) rollback(tx *bbolt.Tx) error {
	if f.stuck.Load() {
		return nil // somebody else's panic, and its error was returned
	}
	err := f.protect(tx.Rollback)
	if IsDamage(err) {
		f.stuck.Store(true)
	}
	return err
}

func (f *File) measure() error {
	return f.View(func(tx *bbolt.Tx) error {
		f.used.Store(tx.Size())
		return nil
	})
}

// Close lets the file go; nil is closed already. When a panic left bbolt's locks in doubt its own Close could wait for ever: then
// only the descriptor is closed, and the map is left behind.
func (f *File) Close() error {
	switch {
	case f == nil:
		return nil
	case f.db != nil && !f.stuck.Load():
		return f.protect(f.db.Close)
	case f.fd != nil:
		// The map keeps the open file alive, and so its lock. Nothing was written through it since the failure, and bbolt may have
		// closed it already.
		_ = unix.Flock(int(f.fd.Fd()), unix.LOCK_UN)
		_ = f.fd.Close()
	}
	return nil
}

// DiskBytes is what the file takes on the disk, holes left out and reserved room included.
func (f *File) DiskBytes() int64 {
	info, err := f.fd.Stat()
	if err != nil {
		return 0
	}
	return allocated(info)
}

func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

// Used is how far into the file pages were ever used, as of the last commit. Beyond it there is nothing.
func (f *File) Used() int64 { return f.used.Load() }

// Fresh says that Open made the file: there was none, or one that had never been finished.
func (f *File) Fresh() bool { return f.fresh }

// Descriptor is the open file, for advice to the system. It must not be read, written or closed through it.
func (f *File) Descriptor() *os.File { return f.fd }
