package sensors

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Shelf lends out things of which there must be one for all who use them, such as a serial line with several devices.
// The zero value is an empty one. It is safe for concurrent use.
type Shelf struct {
	mu     sync.Mutex
	things map[string]*lent
	closed bool
}

// lent is a thing with the number of those who have it.
type lent struct {
	thing io.Closer
	users int
}

// Shared lends what lies under key, as Hardware says.
func (s *Shelf) Shared(key string, open func() (io.Closer, error)) (thing io.Closer, giveBack func() error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, fmt.Errorf("%s: %w", key, ErrClosed)
	}
	l := s.things[key]
	if l == nil {
		thing, err := open()
		if err != nil {
			return nil, nil, err
		}
		if s.things == nil {
			s.things = map[string]*lent{}
		}
		l = &lent{thing: thing}
		s.things[key] = l
	}
	l.users++
	return l.thing, sync.OnceValue(func() error { return s.giveBack(key, l) }), nil
}

// giveBack closes a thing when nobody has it any more, outside of the lock: that may take a while.
func (s *Shelf) giveBack(key string, l *lent) error {
	s.mu.Lock()
	l.users--
	last := l.users == 0 && s.things[key] == l
	if last {
		delete(s.things, key)
	}
	s.mu.Unlock()
	if last {
		return l.thing.Close()
	}
	return nil
}

// Close closes what is still lent, and lends nothing more.
func (s *Shelf) Close() error {
	s.mu.Lock()
	s.closed = true
	things := s.things
	s.things = nil
	s.mu.Unlock()
	var keys []string
	for key := range things {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var errs []error
	for _, key := range keys {
		if err := things[key].thing.Close(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	return errors.Join(errs...)
}
