package sensortest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"iotagent/sensors"
)

// lineBuffer is more edges than a test makes while nobody takes them.
const lineBuffer = 4096

// Line is a GPIO input for tests. The test makes its levels and edges; its methods may be called concurrently.
type Line struct {
	name  string
	edges chan sensors.Edge

	mu      sync.Mutex
	options sensors.InputOptions
	active  bool
	seq     uint32
	err     error // of Read
	ended   bool  // the channel is closed
	closed  int
}

var _ sensors.Input = (*Line)(nil)

// NewLine returns an inactive line.
func NewLine(name string) *Line {
	return &Line{name: name, edges: make(chan sensors.Edge, lineBuffer)}
}

// Set changes the level without an edge.
func (l *Line) Set(active bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = active
}

// Edge changes the level at that time. The driver hears of it if it asked for such edges.
func (l *Line) Edge(active bool, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = active
	if l.ended || active && !l.options.Rising || !active && !l.options.Falling {
		return
	}
	l.seq++
	l.edges <- sensors.Edge{Active: active, At: at, Seq: l.seq}
}

// Lose makes n edges that nobody hears of.
func (l *Line) Lose(n uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq += n
}

// Fail makes every Read fail.
func (l *Line) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// Unplug takes the chip away.
func (l *Line) Unplug() {
	l.Fail(fmt.Errorf("%s: unplugged: %w", l.name, sensors.ErrAbsent))
	l.end()
}

func (l *Line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		close(l.edges)
	}
	l.ended = true
}

// Options returns how the line was taken.
func (l *Line) Options() sensors.InputOptions {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.options
}

// Closed returns how often the line was let go.
func (l *Line) Closed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *Line) take(o sensors.InputOptions) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.options = o
}

// String implements sensors.Input.
func (l *Line) String() string { return l.name }

// Read implements sensors.Input.
func (l *Line) Read() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.active, l.err
}

// Edges implements sensors.Input.
func (l *Line) Edges() <-chan sensors.Edge { return l.edges }

// Close implements sensors.Input.
func (l *Line) Close() error {
	l.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed++; l.closed > 1 {
		return errors.New("the line was closed twice")
	}
	return nil
}
