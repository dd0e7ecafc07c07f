package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxSecret bounds a file of secrets or certificates.
const maxSecret = 1 << 20

// secret returns the text of a secret file, without byte order mark, line ends and space around it.
func (r *reading) secret(key, name string) (string, bool) {
	path, data, ok := r.open(key, name, true)
	if !ok {
		return "", false
	}
	text := strings.TrimSpace(string(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	if strings.Trim(text, "\x00") == "" {
		r.bad(key, path+": is empty", nil)
		return "", false
	}
	return text, true
}

// open reads the file that a key names: an absolute path, or one in $CREDENTIALS_DIRECTORY or beside the configuration file.
func (r *reading) open(key, name string, secret bool) (path string, data []byte, ok bool) {
	paths := r.candidates(name)
	for _, path := range paths {
		data, err := readSecret(path, secret && !inside(r.creds, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			r.bad(key, err.Error(), err)
			return path, nil, false
		}
		return path, data, true
	}
	r.bad(key, "no such file: "+strings.Join(paths, ", nor "), fs.ErrNotExist)
	return "", nil, false
}

func (r *reading) candidates(name string) []string {
	if filepath.IsAbs(name) || r.h.origin == nil {
		return []string{name}
	}
	var paths []string
	if r.creds != "" && filepath.IsLocal(name) {
		paths = append(paths, filepath.Join(r.creds, name))
	}
	beside := filepath.Join(r.h.origin.dir, name)
	if abs, err := filepath.Abs(beside); err == nil {
		beside = abs
	}
	return append(paths, beside)
}

// readSecret reads a regular file, and when it is guarded only one that no stranger can read or change.
func readSecret(path string, guarded bool) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, denied(path, err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return nil, errors.New(path + ": is not a file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, denied(path, err)
	}
	defer func() { _ = f.Close() }() // only read
	if info, err = f.Stat(); err != nil {
		return nil, denied(path, err)
	}
	if guarded && exposed(info.Mode()) {
		return nil, errors.New(exposedMsg(path, info.Mode()))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return nil, denied(path, err)
	case len(data) > maxSecret:
		return nil, fmt.Errorf("%s: is larger than %d bytes", path, maxSecret)
	}
	return data, nil
}

func denied(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: this user may not read it; %s: %w", path, mend(path), fs.ErrPermission)
	}
	return fmt.Errorf("%s: %s: %w", path, "cannot be read", errors.Unwrap(err))
}

// exposed reports whether others than the owner and its group could read a file, or others than the owner change it.
func exposed(m fs.FileMode) bool { return m.Perm()&0o037 != 0 }

func exposedMsg(path string, m fs.FileMode) string {
	return fmt.Sprintf("%s: holds a secret, but its mode %04o lets others at it; want 0640 or 0600: %s", path, m.Perm(), mend(path))
}

// mend returns the command that gives a file its right mode and owner.
func mend(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return !strings.ContainsRune("/._-+", r) && !alphanumeric(r) }) {
		path = "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return "chmod 0640 " + path + " && chown root:iotagent " + path
}

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
