package store_test

import (
	"sync"
	"testing"

	"iotagent/bench/payload"
	"iotagent/bench/store"
)

// TestStores holds every store to the same: what was put is taken once, after reopening too, and what was taken stays away.
func TestStores(t *testing.T) {
	pool := payload.Pool(payload.Readings, 50)
	for _, kind := range store.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, kind, dir)
			if n, err := s.Peek(t.Context()); n != 0 || err != nil {
				t.Fatalf("empty: peek %d, %v", n, err)
			}
			if err := s.Put(t.Context(), pool); err != nil {
				t.Fatal(err)
			}
			take(t, s, 20, 20)
			closed(t, s)

			s = open(t, kind, dir)
			if n, err := s.Peek(t.Context()); n != len(pool[20]) || err != nil {
				t.Fatalf("peek %d, %v, want %d", n, err, len(pool[20]))
			}
			group(t, s, pool[:32])
			take(t, s, 100, 30+32)
			take(t, s, 100, 0)
			group(t, s, pool[:1])
			take(t, s, 100, 1)
			closed(t, s)
		})
	}
}

func group(t *testing.T, s store.Store, bodies [][]byte) {
	g := store.NewGroup(s)
	var wg sync.WaitGroup
	for _, b := range bodies {
		wg.Go(func() {
			if err := g.Put(t.Context(), b); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func open(t *testing.T, kind store.Kind, dir string) store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), kind, dir, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func take(t *testing.T, s store.Store, n, want int) {
	t.Helper()
	if got, err := s.Take(t.Context(), n); got != want || err != nil {
		t.Fatalf("took %d, %v, want %d", got, err, want)
	}
}

func closed(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
