// Package durable makes names durable: a file that was created or renamed is safe from a power cut only once its directory is synced.
package durable

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// SyncDir makes the names that were created, renamed or removed in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// KeepOwner gives what root made to the owner of the directory it stands in: the daemon runs as a user of its own, and must be able
// to open what an administrator's command made while it was stopped. For any other user it does nothing.
func KeepOwner(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return os.Chown(path, int(st.Uid), int(st.Gid))
	}
	return nil
}

// Replace puts a file in the place of the one of that name, if there is one, as a whole: after a power cut there is the old one or the new one. It is readable by the
// group, and belongs to the directory's owner.
func Replace(path string, content []byte) error {
	tmp := path + ".new"
	w, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640) //nolint:gosec // what is kept so holds no secrets
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	if err = errors.Join(err, w.Sync(), w.Close(), KeepOwner(tmp)); err != nil {
		return err
	}
	return errors.Join(os.Rename(tmp, path), SyncDir(filepath.Dir(path)))
}
