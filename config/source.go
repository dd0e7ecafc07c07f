package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxFile bounds a configuration file; a larger one is something else.
const maxFile = 512 << 10

// source is the text of one file.
type source struct {
	name string
	text []byte
}

// position returns line and column, from 1, of an offset. Columns count characters, as editors do.
func (s *source) position(off int) (line, column int) {
	before := s.text[:min(max(off, 0), len(s.text))]
	line = bytes.Count(before, []byte("\n")) + 1
	return line, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}

// newSource takes the byte order mark off, which some editors put before the text and TOML does not allow, and reports what cannot be text at all.
func newSource(name string, data []byte, ps *problems) (*source, bool) {
	ps.file(name)
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	// Clipped, because the parser finds offsets by comparing capacities.
	s := &source{name: name, text: slices.Clip(data)}
	switch nul := bytes.IndexByte(data, 0); {
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		ps.add(pos{s, 0}, "", "the file is UTF-16; save it as UTF-8")
		return s, false
	case len(data) > 0 && len(bytes.Trim(data, "\x00")) == 0:
		ps.add(pos{s, 0}, "", "the file holds nothing but NUL bytes, as after a power cut while it was written; restore it")
		return s, false
	case nul >= 0:
		ps.add(pos{s, nul}, "", "a NUL byte stands here; the file is damaged or is not text")
		return s, false
	case !utf8.Valid(data):
		ps.add(pos{s, invalidUTF8(data)}, "", "this is not UTF-8; save the file as UTF-8")
		return s, false
	}
	return s, true
}

func invalidUTF8(data []byte) int {
	off := 0
	for off < len(data) {
		r, n := utf8.DecodeRune(data[off:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		off += n
	}
	return off
}

// readFile reads a configuration file; what fails is an *Error about the file as a whole.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{File: path, Msg: "no such file", Err: err}
	case errors.Is(err, fs.ErrPermission):
		return nil, &Error{File: path, Msg: "this user may not read it; " + mend(path), Err: err}
	case err != nil:
		return nil, &Error{File: path, Msg: "cannot be opened: " + cause(err), Err: err}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	_ = f.Close() // only read
	switch {
	case err != nil:
		return nil, &Error{File: path, Msg: "cannot be read: " + cause(err), Err: err}
	case len(data) > maxFile:
		return nil, &Error{File: path, Msg: fmt.Sprintf("is larger than %d bytes; is it a configuration file?", maxFile)}
	}
	return data, nil
}

// cause returns the reason of a file error without the path, which stands before it anyway.
func cause(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// dropIns returns conf.d/*.toml beside the main file in lexical order, without dotfiles.
func dropIns(main string) ([]string, error) {
	dir := filepath.Join(filepath.Dir(main), "conf.d")
	entries, err := os.ReadDir(dir) // sorted by name
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{File: dir, Msg: "cannot be listed: " + cause(err), Err: err}
	}
	var paths []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".toml") && !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}
