package transport

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"iotagent/internal/durable"
)

const (
	// retryAfter is how long a blocked port 5671 is left alone, and up to as long again, so that a fleet does not come back as one.
	retryAfter = 6 * time.Hour
	// maxHosts bounds what is remembered: a device has one hub and meets few gateways.
	maxHosts = 16
	maxState = 64 << 10
)

// memory is what Auto knows: the hosts that are reached by WebSocket only, and which way failed last. The first outlives a restart.
type memory struct {
	path string
	now  func() time.Time
	log  *slog.Logger

	mu sync.Mutex
	// retry says for each host that is reached by WebSocket when AMQPS is tried again.
	retry map[string]time.Time
	// broken is the way whose last connection was closed unproven.
	broken map[string]Mode
}

// saved is the file.
type saved struct {
	// WebSocket holds for each host when port 5671 is tried again.
	WebSocket map[string]time.Time `json:"websocket"`
}

func newMemory(path string, now func() time.Time, log *slog.Logger) *memory {
	m := &memory{path: path, now: now, log: log, retry: map[string]time.Time{}, broken: map[string]Mode{}}
	if path == "" {
		return m
	}
	hosts, err := load(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("remembered transport not read; the ways are tried anew", "file", path, "error", err)
	}
	for host, at := range hosts {
		if len(m.retry) < maxHosts {
			m.retry[host] = at
		}
	}
	return m
}

func load(path string) (map[string]time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxState {
		return nil, errors.New("is not a small file")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var s saved
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	return s.WebSocket, nil
}

// first returns the way to begin with, and how long it may take.
func (m *memory) first(host string) (Mode, time.Duration) {
	host = strings.ToLower(host)
	m.mu.Lock()
	defer m.mu.Unlock()
	if broken, ok := m.broken[host]; ok {
		return broken.other(), wayLimit
	}
	at, remembered := m.retry[host]
	left := at.Sub(m.now())
	switch {
	case !remembered:
		return AMQPS, wayLimit
	case left <= 0 || left > 2*retryAfter: // over, or the clock was set
		return AMQPS, retryLimit
	}
	return WebSocket, wayLimit
}

// failed takes note of a connection that was closed unproven.
func (m *memory) failed(host string, mode Mode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if host = strings.ToLower(host); len(m.broken) < maxHosts {
		m.broken[host] = mode
	}
}

// worked takes note of a way on which the hub spoke AMQP.
func (m *memory) worked(host string, mode Mode) {
	host = strings.ToLower(host)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.broken, host)
	at, remembered := m.retry[host]
	left := at.Sub(m.now())
	switch {
	case mode == AMQPS && !remembered, mode == WebSocket && remembered && left > 0 && left <= 2*retryAfter:
		return // nothing new
	case mode == AMQPS:
		delete(m.retry, host)
	default:
		m.forget(host)
		m.retry[host] = m.now().Add(retryAfter + rand.N(retryAfter)).UTC().Truncate(time.Second) //nolint:gosec // jitter needs no secrecy
	}
	if remembered != (mode == WebSocket) {
		m.log.Info("the way to the hub changed", "host", host, "transport", string(mode))
	}
	if err := m.save(); err != nil && !errors.Is(err, fs.ErrNotExist) { // a state directory that is not there yet is no fault
		m.log.Warn("transport that worked not remembered", "file", m.path, "error", err)
	}
}

// forget makes room for a host.
func (m *memory) forget(host string) {
	if _, known := m.retry[host]; known || len(m.retry) < maxHosts {
		return
	}
	oldest := ""
	for h, at := range m.retry {
		if oldest == "" || at.Before(m.retry[oldest]) {
			oldest = h
		}
	}
	delete(m.retry, oldest)
}

// save replaces the file as a whole.
func (m *memory) save() (err error) {
	if m.path == "" {
		return nil
	}
	data, err := json.Marshal(saved{m.retry})
	if err != nil {
		return err
	}
	dir := filepath.Dir(m.path)
	f, err := os.CreateTemp(dir, filepath.Base(m.path)+".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close(), durable.KeepOwner(f.Name())); err == nil {
		err = os.Rename(f.Name(), m.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return durable.SyncDir(dir)
}
