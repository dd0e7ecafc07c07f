package store

import (
	"context"
	"sync"
)

// Group lets many producers share a store's commits: whoever comes while one runs is in the next. A store that joins puts itself is
// used as it is.
type Group struct {
	store Store

	mu      sync.Mutex
	writing bool
	next    *group
}

type group struct {
	bodies [][]byte
	done   chan struct{}
	err    error
}

// NewGroup returns a group in front of s.
func NewGroup(s Store) *Group { return &Group{store: s, next: newGroup()} }

func newGroup() *group { return &group{done: make(chan struct{})} }

// Put returns once body is on the disk.
func (g *Group) Put(ctx context.Context, body []byte) error {
	if g.store.Concurrent() {
		return g.store.Put(ctx, [][]byte{body})
	}
	g.mu.Lock()
	mine := g.next
	mine.bodies = append(mine.bodies, body)
	if !g.writing {
		g.writing = true
		go g.write(ctx)
	}
	g.mu.Unlock()
	<-mine.done
	return mine.err
}

// write commits groups until nobody waits.
func (g *Group) write(ctx context.Context) {
	for {
		g.mu.Lock()
		now := g.next
		if len(now.bodies) == 0 {
			g.writing = false
			g.mu.Unlock()
			return
		}
		g.next = newGroup()
		g.mu.Unlock()
		now.err = g.store.Put(ctx, now.bodies)
		close(now.done)
	}
}
