package counter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"iotagent/internal/durable"
)

// state is what is kept of a counter.
type state struct {
	// Pulses since counting began.
	Pulses uint64 `json:"pulses"`
	// Clean says that no pulse came after this was written.
	Clean bool `json:"clean"`
	// Uncertain is how often pulses may have gone missing.
	Uncertain uint64 `json:"uncertain"`
}

// file is a state as it is written, with a checksum: flash that fails gives other digits, not always none.
type file struct {
	state
	Sum uint32 `json:"sum"`
}

func (s state) sum() uint32 {
	return crc32.ChecksumIEEE(fmt.Appendf(nil, "%d %t %d", s.Pulses, s.Clean, s.Uncertain))
}

// store is where a state is kept.
type store struct {
	path  string // "" for nowhere
	saved state  // what is there
}

// openStore reads the state of a pin. Damage says what was wrong with the file, which is set aside then; "" when nothing was.
func openStore(dir, pin string) (s *store, damage string, err error) {
	s = &store{saved: state{Clean: true}}
	if dir == "" {
		return s, "", nil
	}
	s.path = filepath.Join(dir, "counters", url.PathEscape(strings.TrimPrefix(pin, "/dev/"))+".json")
	data, err := os.ReadFile(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return s, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	saved, err := decode(data)
	if err == nil {
		s.saved = saved
		return s, "", nil
	}
	aside := s.path + ".damaged"
	if failed := errors.Join(os.Rename(s.path, aside), durable.SyncDir(filepath.Dir(s.path))); failed != nil {
		return nil, "", fmt.Errorf("%s is damaged (%w) and cannot be set aside: %w", s.path, err, failed)
	}
	return s, fmt.Sprintf("%s was damaged (%v) and is set aside as %s", s.path, err, filepath.Base(aside)), nil
}

// decode reads a file.
func decode(data []byte) (state, error) {
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return state{}, err
	}
	if f.Sum != f.sum() {
		return state{}, errors.New("its checksum is wrong")
	}
	return f.state, nil
}

// save writes the state if it is another one.
func (s *store) save(st state) error {
	if st == s.saved {
		return nil
	}
	if s.path != "" {
		if err := s.write(st); err != nil {
			return err
		}
	}
	s.saved = st
	return nil
}

func (s *store) write(st state) error {
	data, err := json.Marshal(file{state: st, Sum: st.sum()})
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path)
	err = os.Mkdir(dir, 0o700)
	switch {
	case err == nil:
		err = errors.Join(durable.KeepOwner(dir), durable.SyncDir(filepath.Dir(dir)))
	case errors.Is(err, os.ErrExist):
		err = nil
	}
	if err != nil {
		return err
	}
	return durable.WriteFile(s.path, append(data, '\n'), 0o600)
}
