package segment

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Reserve sets room on the disk aside behind what is used, so that commits change no allocation: fewer writes of the file system's
// own. Where the file system cannot do that it does nothing.
func (s *Segment) Reserve(bytes int64) error {
	s.appending.Lock()
	defer s.appending.Unlock()
	for bytes > 0 {
		err := unix.Fallocate(int(s.f.Descriptor().Fd()), unix.FALLOC_FL_KEEP_SIZE, s.Used(), bytes)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		}
		return s.wrap(err)
	}
	return nil
}

// Trim gives back what was reserved and not used, durably. It is for a file that takes no more, but more can be appended after it.
func (s *Segment) Trim() error {
	s.appending.Lock()
	defer s.appending.Unlock()
	fd := s.f.Descriptor()
	if err := errors.Join(fd.Truncate(s.Used()), fd.Sync()); err != nil {
		return s.wrap(err)
	}
	return nil
}
