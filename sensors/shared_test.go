package sensors_test

import (
	"errors"
	"io"
	"sync"
	"testing"

	"iotagent/sensors"
)

// closeCounter counts how often it is closed.
type closeCounter struct {
	mu     sync.Mutex
	closed int
	err    error
}

func (c *closeCounter) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
	return c.err
}

func TestSharedIsOpenedOnceAndClosedByTheLast(t *testing.T) {
	hw := sensors.NewHardware(t.TempDir(), nil)
	var opened []*closeCounter
	open := func() (io.Closer, error) {
		opened = append(opened, &closeCounter{})
		return opened[len(opened)-1], nil
	}
	a, backA, errA := hw.Shared("line", open)
	b, backB, errB := hw.Shared("line", open)
	other, backOther, errOther := hw.Shared("other", open)
	if err := errors.Join(errA, errB, errOther); err != nil || a != b || a == other || len(opened) != 2 {
		t.Fatalf("Shared: %v, %v, %v with %d opened, %v", a, b, other, len(opened), err)
	}
	for range 2 { // giving back twice counts once
		if err := backA(); err != nil || opened[0].closed != 0 {
			t.Errorf("the first gave it back: %v, closed %d times", err, opened[0].closed)
		}
	}
	if err := backB(); err != nil || opened[0].closed != 1 {
		t.Errorf("the last gave it back: %v, closed %d times", err, opened[0].closed)
	}
	if again, _, err := hw.Shared("line", open); err != nil || again == a {
		t.Errorf("Shared after the last: %v, %v; want a new one", again, err)
	}
	opened[1].err = io.ErrUnexpectedEOF
	if err := hw.Close(); !errors.Is(err, io.ErrUnexpectedEOF) || opened[1].closed != 1 || opened[2].closed != 1 {
		t.Errorf("Close: %v, closed %d and %d times", err, opened[1].closed, opened[2].closed)
	}
	if err := backOther(); err != nil || opened[1].closed != 1 {
		t.Errorf("given back after Close: %v, closed %d times", err, opened[1].closed)
	}
	if _, _, err := hw.Shared("line", open); !errors.Is(err, sensors.ErrClosed) {
		t.Errorf("Shared after Close: %v", err)
	}
}

func TestSharedThatDoesNotOpenIsNotKept(t *testing.T) {
	var s sensors.Shelf
	if _, _, err := s.Shared("line", func() (io.Closer, error) { return nil, io.ErrNoProgress }); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("Shared: %v", err)
	}
	if _, back, err := s.Shared("line", func() (io.Closer, error) { return &closeCounter{}, nil }); err != nil || back() != nil {
		t.Errorf("Shared afterwards: %v", err)
	}
}

func TestSharedByMany(t *testing.T) {
	var s sensors.Shelf
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			thing, back, err := s.Shared("line", func() (io.Closer, error) { return &closeCounter{}, nil })
			if err != nil {
				t.Error(err)
				return
			}
			c := thing.(*closeCounter)
			c.mu.Lock()
			if c.closed != 0 {
				t.Error("lent after it was closed")
			}
			c.mu.Unlock()
			if err := back(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
