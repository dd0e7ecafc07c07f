package hubsim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// keeper writes messages into the state directory: the events of each partition, and a journal of all queues. A line is in the file before
// anybody hears that its message was taken, so that a hub that is killed has it when it starts again; a power cut may cost the last ones.
// It is guarded by the Server's mutex. A nil *keeper keeps nothing.
type keeper struct {
	logger *slog.Logger
	lock   *os.File
	queues *journal
	events []*eventFiles
	broken bool // a write has failed: what is on the disk stays as it is
}

// openMessages reads what the state directory has of messages and prepares to add to it.
func (s *Server) openMessages() error {
	if !s.opts.KeepMessages || s.opts.StateDir == "" {
		return nil
	}
	lock, err := lockDir(s.opts.StateDir)
	if err != nil {
		return err
	}
	k := &keeper{logger: s.opts.Logger, lock: lock}
	if err := errors.Join(s.openEvents(k), s.openQueues(k)); err != nil {
		return errors.Join(err, k.close())
	}
	s.keep = k
	return nil
}

// lockDir makes sure that one hub at a time writes there; the lock ends with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { // a descriptor is small
		return nil, errors.Join(fmt.Errorf("state directory %s: another hubsim uses it", dir), f.Close())
	}
	return f, nil
}

// failed notes the first failure; it returns true when there was one, now or before.
func (k *keeper) failed(err error) bool {
	if err != nil && !k.broken {
		k.broken = true
		k.logger.Error("messages are not kept any more: the state directory cannot be written", "error", err)
	}
	return k.broken
}

// close makes all that was written durable.
func (k *keeper) close() error {
	if k == nil {
		return nil
	}
	var errs []error
	for _, e := range k.events {
		errs = append(errs, e.close())
	}
	errs = append(errs, k.queues.close(), k.lock.Close())
	return errors.Join(errs...)
}

// readLines calls f for each line of JSON in a file. A last line without its newline was being written when the hub was killed: it is cut off.
func readLines(path string, f func(line []byte) error) error {
	file, err := os.OpenFile(filepath.Clean(path), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	defer func() { _ = file.Close() }() // nothing is buffered
	r := bufio.NewReaderSize(file, 64<<10)
	for at, n := int64(0), 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				err = file.Truncate(at)
			} else {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("state directory: %w", err)
		}
		if len(line) == 0 || line[len(line)-1] != '\n' {
			return nil
		}
		if err := f(bytes.TrimSpace(line)); err != nil {
			return fmt.Errorf("%s:%d is damaged; move the file away to start without it: %w", path, n, err)
		}
		at += int64(len(line))
	}
}

// appendFile is a file of lines that only grows.
type appendFile struct {
	f     *os.File
	lines int
}

func openAppend(path string, lines int) (*appendFile, error) {
	f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return &appendFile{f, lines}, nil
}

// encode appends v to buf as a line.
func encodeLine(buf *bytes.Buffer, v any) error {
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (a *appendFile) close() error {
	if a == nil {
		return nil
	}
	return errors.Join(a.f.Sync(), a.f.Close())
}
