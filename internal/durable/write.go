package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile replaces the file as a whole: after a power cut it has the old content or the new. Beside it stands, for a moment or after a
// power cut, a file of the same name and ".new". What root writes belongs to the directory's owner.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = KeepOwner(temp)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // the error says more
		return err
	}
	return SyncDir(filepath.Dir(path))
}
