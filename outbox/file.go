package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"iotagent/internal/durable"
)

// The file's buckets: meta {format, state}, queue {lane u8 | position u64 → record}, epochs {lane u8 | first position u64 →
// epoch}, dead {number u64 → dead letter}.
const (
	bucketMeta   = "meta"
	bucketQueue  = "queue"
	bucketEpochs = "epochs"
	bucketDead   = "dead"
	keyFormat    = "format"
	keyState     = "state"

	formatVersion = 1
	fileName      = "outbox.db"
)

// errNewer says that a later version wrote the file; it is never taken for damage.
var errNewer = errors.New("written by a newer version")

// file is one open bbolt file. Only the writer goroutine (or Open, before it starts) commits; reads come from anywhere under the
// outbox's lock.
type file struct {
	db     *bbolt.DB
	fd     *os.File
	broken atomic.Bool // a panic came out of bbolt: its locks may be held for ever
}

// guard runs fn and turns a panic or a memory fault (a page of the map that the disk cannot deliver) into a damage error.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged("bbolt: %v", p)
		}
	}()
	return fn()
}

// openFile opens or creates a bbolt file after checking what bbolt itself would trust. Errors: damage, errNewer, ErrLocked, or the
// disk's own.
func openFile(path string, o *Options, readOnly bool) (*file, error) {
	fresh, err := precheck(path, o)
	if err != nil {
		return nil, err
	}
	f := new(file)
	opt := &bbolt.Options{
		Timeout: time.Second, PageSize: pageSize, FreelistType: bbolt.FreelistMapType, InitialMmapSize: mapSize,
		MaxSize: o.maxFile(), ReadOnly: readOnly, PreLoadFreelist: true, NoStatistics: true,
		OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
			var err error
			f.fd, err = o.OpenFile(name, flag, perm)
			return f.fd, err
		},
	}
	err = guard(func() (err error) {
		f.db, err = bbolt.Open(path, 0o600, opt)
		return err
	})
	if err == nil && fresh && !readOnly {
		err = f.create(path)
	}
	if err == nil {
		err = f.checkFormat()
	}
	if err != nil {
		return nil, errors.Join(openError(path, err), f.close())
	}
	return f, nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%s: %w", path, ErrLocked)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return damaged("%s: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// precheck reports whether the file is to be made, and whether what is there can be opened.
func precheck(path string, o *Options) (fresh bool, err error) {
	fd, err := o.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = fd.Close() }() // only read from
	// After a failed fsync the page cache may hold what the disk does not: what is looked at next must come from the disk.
	_ = unix.Fadvise(int(fd.Fd()), 0, 0, unix.FADV_DONTNEED)
	info, err := fd.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() == 0 {
		return true, nil
	}
	return false, verify(fd, info.Size())
}

// create makes the buckets of a new file and its directory entry durable.
func (f *file) create(path string) error {
	err := guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error {
			for _, name := range []string{bucketMeta, bucketQueue, bucketEpochs, bucketDead} {
				if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
					return err
				}
			}
			m := tx.Bucket([]byte(bucketMeta))
			st := state{}
			for i := range st.lane {
				st.lane[i].head = 1
			}
			if err := m.Put([]byte(keyState), st.encode()); err != nil {
				return err
			}
			return m.Put([]byte(keyFormat), binary.BigEndian.AppendUint32(nil, formatVersion))
		})
	})
	if err != nil {
		return err
	}
	return errors.Join(durable.KeepOwner(path), durable.SyncDir(filepath.Dir(path)))
}

func (f *file) checkFormat() error {
	return f.view(func(tx *bbolt.Tx) error {
		m := tx.Bucket([]byte(bucketMeta))
		if m == nil {
			return damaged("no meta bucket")
		}
		v := m.Get([]byte(keyFormat))
		if len(v) != 4 {
			return damaged("no format version")
		}
		if n := binary.BigEndian.Uint32(v); n > formatVersion {
			return fmt.Errorf("%w: format %d, this program knows %d: run the newer program again, or move the file away", errNewer, n, formatVersion)
		}
		for _, name := range []string{bucketQueue, bucketEpochs, bucketDead} {
			if tx.Bucket([]byte(name)) == nil {
				return damaged("no bucket %q", name)
			}
		}
		_, err := decodeState(m.Get([]byte(keyState)))
		if err != nil {
			return &damage{err}
		}
		return nil
	})
}

// view runs fn in a read transaction.
func (f *file) view(fn func(tx *bbolt.Tx) error) error {
	return f.mark(guard(func() error { return f.db.View(fn) }))
}

// update runs fn in a write transaction and returns how many bytes of pages the commit wrote.
func (f *file) update(fn func(tx *bbolt.Tx) error) (written uint64, err error) {
	var t *bbolt.Tx
	err = f.mark(guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error {
			t = tx
			return fn(tx)
		})
	}))
	if err != nil {
		return 0, err
	}
	st := t.Stats()
	return uint64(max(st.GetPageAlloc(), 0)) + pageSize, nil
}

func (f *file) mark(err error) error {
	if isDamage(err) {
		f.broken.Store(true)
	}
	return err
}

func (f *file) state() (st state, err error) {
	err = f.view(func(tx *bbolt.Tx) (err error) {
		st, err = decodeState(tx.Bucket([]byte(bucketMeta)).Get([]byte(keyState)))
		return err
	})
	return st, err
}

// close lets the file go. After a panic bbolt's Close could wait for ever: then only the descriptor is closed, which frees the
// lock, and the map is left behind.
func (f *file) close() error {
	if f == nil {
		return nil
	}
	if f.broken.Load() || f.db == nil {
		if f.fd != nil {
			_ = f.fd.Close() // nothing was written through it since the failure; bbolt may have closed it already
		}
		return nil
	}
	return guard(f.db.Close)
}

// diskBytes is what the file takes on the disk, holes left out.
func (f *file) diskBytes() int64 {
	info, err := f.fd.Stat()
	if err != nil {
		return 0
	}
	return allocated(info)
}
