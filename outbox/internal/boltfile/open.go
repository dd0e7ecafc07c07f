package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"iotagent/internal/durable"
)

// Each file has a bucket meta with one key, format: CRC-32C u32 BE over the rest, version u32 BE, then the magic. Without the checksum a
// flipped bit would be a newer version, at which every program stops.
const (
	BucketMeta = "meta"
	KeyFormat  = "format"
)

// Format takes the value of KeyFormat apart.
func Format(v []byte) (magic string, version uint32, ok bool) {
	if len(v) < 8 || binary.BigEndian.Uint32(v) != crc32.Checksum(v[4:], crc32.MakeTable(crc32.Castagnoli)) {
		return "", 0, false
	}
	return string(v[8:]), binary.BigEndian.Uint32(v[4:]), true
}

// FormatValue is the inverse of Format.
func FormatValue(magic string, version uint32) []byte {
	v := append(binary.BigEndian.AppendUint32(make([]byte, 4), version), magic...)
	binary.BigEndian.PutUint32(v, crc32.Checksum(v[4:], crc32.MakeTable(crc32.Castagnoli)))
	return v
}

const (
	lockWait = time.Second
	// initBytes is what bbolt writes into a new file before its first commit.
	initBytes = 4 * PageSize
)

// Options say what a file holds and how far it may grow. Magic must be set.
type Options struct {
	// ReadOnly opens for Views only and beside other readers. The file must be there.
	ReadOnly bool
	// MaxBytes is how large the file may grow; a commit that needs more fails with bbolt's ErrMaxSizeReached. 0 is no limit.
	MaxBytes int
	// MapBytes is how much is mapped at first: up to there growing never waits for readers. 0 is what the file has.
	MapBytes int
	// Buckets are made in a new file and must be there in an old one.
	Buckets []string
	// Magic tells this kind of file from others: a file with another is damaged.
	Magic string
	// Version is the newest format that the caller knows: a file of a later one is ErrNewer.
	Version uint32
	// OpenFile opens the file. nil is os.OpenFile.
	OpenFile func(name string, flag int, perm os.FileMode) (*os.File, error)
}

// Open opens the file, or makes it when it is not there, was never written, or its making was interrupted; a new file and its
// directory entry are durable when Open returns. Errors: Damage, ErrNewer, ErrLocked, fs.ErrNotExist (ReadOnly), or the disk's own.
func Open(path string, o *Options) (*File, error) {
	f, opener := new(File), &opener{Options: *o}
	if opener.OpenFile == nil {
		opener.OpenFile = os.OpenFile
	}
	err := f.guard(func() (err error) {
		f.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: lockWait, PageSize: PageSize, FreelistType: bbolt.FreelistMapType, InitialMmapSize: o.MapBytes,
			MaxSize: o.MaxBytes, ReadOnly: o.ReadOnly, NoFreelistSync: true, NoStatistics: true, OpenFile: opener.open,
		})
		return err
	})
	f.fd, f.fresh = opener.fd, opener.fresh
	if err == nil && opener.fresh {
		err = f.create(path, o)
	}
	if err == nil {
		err = f.measure()
	}
	if err != nil {
		return nil, errors.Join(openError(path, err), f.Close())
	}
	if o.ReadOnly {
		f.readAhead()
	}
	return f, nil
}

// readAhead takes bbolt's advice on its map back (MADV_RANDOM): a file that is only read is read from front to back, and page by page each 4 KiB
// would wait for the disk. Without it the kernel reads 128 KiB around a page that is missing. The map of a file opened for reading does not move.
func (f *File) readAhead() {
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, f.db.Info().Data, uintptr(f.Used()), unix.MADV_NORMAL)
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%s: %w", path, ErrLocked)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return Damaged("%s: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// opener stands between bbolt and the file: bbolt gets it locked and checked.
type opener struct {
	Options
	fd    *os.File
	fresh bool
}

func (o *opener) open(name string, flag int, perm os.FileMode) (*os.File, error) {
	fd, err := o.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	if err = o.check(fd); err != nil {
		return nil, errors.Join(err, fd.Close())
	}
	o.fd = fd
	return fd, nil
}

// check locks the file as bbolt does right after, so that what is looked at does not change, and looks at what bbolt would trust.
func (o *opener) check(fd *os.File) error {
	how := unix.LOCK_EX
	if o.ReadOnly {
		how = unix.LOCK_SH
	}
	if err := flock(fd, how); err != nil {
		return err
	}
	// After a failed fsync the page cache may hold what the disk does not: what is looked at next must come from the disk.
	_ = unix.Fadvise(int(fd.Fd()), 0, 0, unix.FADV_DONTNEED)
	info, err := fd.Stat()
	if err != nil {
		return err
	}
	switch o.fresh, err = unfinished(fd, info.Size()); {
	case err != nil:
		return err
	case o.fresh && o.ReadOnly:
		return fmt.Errorf("never written: %w", fs.ErrNotExist)
	case o.fresh:
		return fd.Truncate(0) // bbolt makes what is empty
	}
	return o.checkContents(fd, info.Size())
}

func flock(fd *os.File, how int) error {
	end := time.Now().Add(lockWait)
	for {
		err := unix.Flock(int(fd.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		if time.Now().After(end) {
			return ErrLocked
		}
		<-time.After(20 * time.Millisecond)
	}
}

// unfinished reports whether the file holds nothing yet: the power went while it was made. Until the first commit of the caller's own is
// done, which is transaction 2 and makes the buckets, its pages are either not on the disk or name no commit, however far bbolt has
// grown it.
func unfinished(fd *os.File, size int64) (bool, error) {
	metas, err := readMetas(fd)
	if err != nil {
		return false, err
	}
	if len(metas) > 0 {
		return metas[0].tx <= 1, nil
	}
	if size > initBytes {
		return false, nil
	}
	b := make([]byte, size)
	if _, err := fd.ReadAt(b, 0); err != nil && size > 0 {
		return false, err
	}
	for _, c := range b {
		if c != 0 {
			return false, nil
		}
	}
	return true, nil
}

// checkContents walks the file and finds buckets and format. For reading, the inner leaves are left out: what is wrong there is met when it
// is read. For writing, bbolt walks every page itself to find the free ones, in a goroutine whose panic nobody could catch: so every page is
// looked at first. That is the price of not writing the list of free pages with each commit, which would cost one page more.
func (o *opener) checkContents(fd *os.File, size int64) error {
	var format []byte
	w := &walker{sparse: o.ReadOnly, names: make(map[string]bool), bad: func(err error) error { return err }}
	w.leaf = func(bucket string, k, v []byte) error {
		if bucket == BucketMeta && string(k) == KeyFormat {
			format = v
		}
		return nil
	}
	err := w.verify(fd, size)
	if IsDamage(err) || err == nil { // a newer format may look damaged to this program
		if magic, v, ok := Format(format); ok && magic == o.Magic {
			if v > o.Version {
				return fmt.Errorf("%w: format %d, this program knows %d: run the newer program again, or move the file away", ErrNewer, v, o.Version)
			}
		} else if err == nil {
			return Damaged("not a file of kind %q", o.Magic)
		}
	}
	if err != nil {
		return err
	}
	for _, name := range o.Buckets {
		if !w.names[name] {
			return Damaged("no bucket %q", name)
		}
	}
	return nil
}

// create makes the buckets of a new file and its directory entry durable.
func (f *File) create(path string, o *Options) error {
	_, err := f.Update(nil, func(tx *bbolt.Tx) error {
		m, err := tx.CreateBucketIfNotExists([]byte(BucketMeta))
		if err != nil {
			return err
		}
		for _, name := range o.Buckets {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return m.Put([]byte(KeyFormat), FormatValue(o.Magic, o.Version))
	})
	if err != nil {
		return err
	}
	return errors.Join(f.fd.Sync(), durable.KeepOwner(path), durable.SyncDir(filepath.Dir(path)))
}
