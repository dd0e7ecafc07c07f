package outbox_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"iotagent/outbox"
)

// Producers and consumers at the quota, over many restarts: nothing of it is ever taken for damage, and the files stay sound.
func TestChurn(t *testing.T) {
	dir := quickDir(t)
	for round := range 20 {
		q, err := outbox.Open(dir, &outbox.Options{MaxBytes: 1 << 20, MinFree: -1, MaxLoss: time.Duration(round%2) * 100 * time.Millisecond, MaxDead: 100000, MaxDeadBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 60 {
					size := rand.IntN(3000)
					if rand.IntN(16) == 0 {
						size = rand.IntN(120000)
					}
					m := outbox.Message{Lane: outbox.Lane(rand.IntN(3)), Body: []byte(noise(round*10000+w*1000+i, size)), Readings: 1}
					if _, err := q.Put(t.Context(), m); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for range 60 {
					es, err := q.Next(4, 1<<20)
					if err != nil {
						t.Error(err)
					}
					for _, e := range es {
						switch rand.IntN(4) {
						case 0:
							q.Release(e.ID)
						case 1:
							_ = q.Reject(e.ID, "no") // as below
						default:
							_ = q.Ack(e.ID) // fails only when it is closed
						}
					}
				}
			})
		}
		wg.Wait()
		if s := q.Stats(); len(s.SetAside) > 0 {
			t.Fatalf("round %d: set aside %v", round, s.SetAside)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if err := outbox.Verify(dir); err != nil {
			t.Fatal(err)
		}
	}
}
