package outbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/internal/durable"
)

// openDir makes the directory and takes its lock. The lock is an flock of the directory itself: it needs no file, so it
// works on a full or read-only disk, and it is held while the damaged or failing file inside is closed and replaced.
func openDir(dir string, o *Options) (*os.File, error) {
	how := unix.LOCK_EX
	if o.ReadOnly {
		how = unix.LOCK_SH
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, nil // an empty outbox
		}
	} else if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("outbox %s: %w", dir, err)
	}
	d, err := lockDir(dir, how, o.LockWait)
	if err != nil {
		return nil, fmt.Errorf("outbox %s: %w", dir, err)
	}
	return d, nil
}

func lockDir(dir string, how int, wait time.Duration) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(wait)
	for {
		err = unix.Flock(int(d.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		if time.Now().After(end) {
			err = fmt.Errorf("%w: stop it first, or ask it to do this", ErrLocked)
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	return nil, errors.Join(err, d.Close())
}

func makeDir(dir string) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return errors.New("not a directory")
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(durable.KeepOwner(dir), durable.SyncDir(filepath.Dir(dir)))
}

func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

const (
	corruptMark = ".corrupt-"
	keepCorrupt = 3
	tmpSuffix   = ".tmp"
)

// setAside lists the damaged files that were renamed, oldest first.
func setAside(dir string) []string {
	names, err := filepath.Glob(filepath.Join(dir, "*"+corruptMark+"*"))
	if err != nil {
		return nil // only a bad pattern fails
	}
	slices.SortFunc(names, func(a, b string) int {
		_, x, _ := strings.Cut(a, corruptMark)
		_, y, _ := strings.Cut(b, corruptMark)
		return strings.Compare(x, y)
	})
	return names
}

// keepAside gives a damaged file a second name, under which it stays for whoever wants to look at it. Only the newest few do, so that a
// dying card is not filled by them.
func keepAside(path string, now time.Time) error {
	name := path + corruptMark + now.UTC().Format("20060102T150405.000000000Z")
	if err := os.Link(path, name); errors.Is(err, fs.ErrNotExist) {
		return nil // removed by somebody: nothing to keep
	} else if err != nil {
		return err
	}
	old := setAside(filepath.Dir(path))
	for len(old) > keepCorrupt {
		if err := os.Remove(old[0]); err != nil {
			return err
		}
		old = old[1:]
	}
	return nil
}
