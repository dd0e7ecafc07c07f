package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"iotagent/internal/backoff"
	"iotagent/internal/durable"
)

// meterFile is the count of a day as it lies on the disk.
type meterFile struct {
	Metering
	// Clean says that the process ended after it, so that nothing of its day is missing.
	Clean bool `json:"clean"`
}

// meterEvery is how often the count is written while it changes: it lies on flash, and an hour of it may be lost.
const meterEvery = time.Hour

// load reads what an earlier process left.
func (m *metered) load() {
	if m.path == "" {
		return
	}
	b, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	k, perr := parseMeterFile(b)
	if err = errors.Join(err, perr); err != nil {
		m.log.Warn("count of metered messages not readable; it starts anew", "file", m.path, "error", err)
		m.today.AtLeast = true
		return
	}
	m.kept, m.saved = k, *k
}

func parseMeterFile(b []byte) (*meterFile, error) {
	k := &meterFile{}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, err
	}
	if _, err := time.Parse(time.DateOnly, k.Day); err != nil {
		return nil, err
	}
	if k.Metered < k.Messages || k.Bytes < k.Messages || k.Metered > k.Bytes { // each has a byte at least
		return nil, fmt.Errorf("%d messages of %d bytes metered as %d", k.Messages, k.Bytes, k.Metered)
	}
	return k, nil
}

// watch keeps the file, until ctx is done: at once it says that a process is at work, then now and then how much it was.
func (m *metered) watch(ctx context.Context) {
	if m.path == "" {
		return
	}
	for wait := meterEvery; ; wait = meterEvery {
		if !m.save(false) {
			wait = time.Minute
		}
		if backoff.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// save writes the count where the file says something else. It returns false while nobody knows what day it is.
func (m *metered) save(clean bool) bool {
	today, _ := m.now()
	f := meterFile{Metering: today, Clean: clean}
	m.mu.Lock()
	same := f == m.saved
	m.mu.Unlock()
	if m.path == "" || f.Day == "" || same {
		return f.Day != ""
	}
	if err := f.write(m.path); err != nil {
		m.log.Warn("count of metered messages not written", "error", err)
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saved = f
	return true
}

// write replaces the file as a whole.
func (f *meterFile) write(path string) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(b, '\n'), 0o640)
}
