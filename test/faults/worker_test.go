package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"iotagent/outbox"
)

// workerEnv holds the job of a test binary that was started as a worker.
const workerEnv = "FAULTS_WORKER"

// job is what a worker does. Its notes go to the standard output; it ends when its standard input does, or after Sessions.
type job struct {
	Dir  string
	Seed uint64
	// First is the number of its first message.
	First    uint64
	MaxLoss  time.Duration
	MaxBytes int64
	// Sessions is how often the outbox is opened and closed, 0 for once and until the input ends; Puts how many puts of each producer make a session.
	Sessions, Puts int
	// Big is how large the largest bodies are, of which there is one in 16.
	Big int
	// Safe is how many puts in a hundred are durable; with MaxLoss 0 all are.
	Safe int
	// Pause is the longest time between two puts of a producer.
	Pause time.Duration
	// Take is how many entries are taken at once at most. Default: 100.
	Take int
	// Hold keeps everything: nothing is handed out.
	Hold bool
	// Unordered says that first times may come out of order, because the disk cannot be read.
	Unordered bool
}

func (j *job) options() *outbox.Options {
	return &outbox.Options{MaxLoss: j.MaxLoss, MaxBytes: j.MaxBytes, MinFree: -1, MaxDead: 100_000, MaxDeadBytes: 64 << 20}
}

// worker is the process under test.
type worker struct {
	job
	mu     sync.Mutex // of the output, and of the numbers
	number uint64
	call   uint64
}

func work(text string) int {
	w := &worker{}
	if err := json.Unmarshal([]byte(text), &w.job); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	w.number = max(w.First, 1) // 0 is no message
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if w.Sessions == 0 {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it
			cancel()
		}()
	}
	for i := range uint64(max(w.Sessions, 1)) {
		if err := w.session(ctx, w.Seed*1000+i); err != nil {
			w.tell(&note{What: wrong, Error: err.Error()})
			return 1
		}
	}
	return 0
}

func (w *worker) tell(n *note) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tellLocked(n)
}

func (w *worker) tellLocked(n *note) {
	n.At = time.Now().UnixNano()
	if _, err := os.Stdout.Write(n.line()); err != nil {
		os.Exit(3) // the test has gone
	}
}

// session opens the outbox, works on it from several goroutines and closes it.
func (w *worker) session(ctx context.Context, seed uint64) error {
	q, err := outbox.Open(w.Dir, w.options())
	if err != nil {
		return err
	}
	w.tell(&note{What: opened, Epoch: q.Stats().Epoch})
	var producers, others sync.WaitGroup
	stop := make(chan struct{})
	for p := range uint64(3) {
		producers.Go(func() { w.produce(ctx, q, rand.New(rand.NewPCG(seed, p))) })
	}
	others.Go(func() { w.watch(q, stop) })
	if !w.Hold {
		others.Go(func() { newConsumer(w, q, rand.New(rand.NewPCG(seed, 9))).run(stop) })
	}
	producers.Wait()
	close(stop)
	others.Wait()
	w.tell(&note{What: closing, Epoch: q.Stats().Epoch})
	end := &note{What: closed}
	if err := q.Close(); err != nil {
		end.What, end.Error = unclosed, err.Error()
	}
	w.tell(end)
	return nil
}

// produce puts messages, and now and then waits until all are fsynced.
func (w *worker) produce(ctx context.Context, q *outbox.Outbox, r *rand.Rand) {
	for i := 0; (w.Puts == 0 || i < w.Puts) && ctx.Err() == nil; i++ {
		if r.IntN(40) == 0 {
			w.sync(ctx, q)
		} else {
			w.put(ctx, q, r)
		}
		if w.Pause > 0 {
			wait(ctx.Done(), rand.N(w.Pause))
		}
	}
}

func (w *worker) put(ctx context.Context, q *outbox.Outbox, r *rand.Rand) {
	ms := make([]outbox.Message, 1+r.IntN(4))
	n := &note{What: putting, Safe: w.MaxLoss == 0 || r.IntN(100) < w.Safe}
	w.mu.Lock()
	n.First = w.number
	w.number += uint64(len(ms))
	w.call++
	n.Call = w.call
	w.tellLocked(n)
	w.mu.Unlock()
	for i := range ms {
		size := r.IntN(300)
		if w.Big > 0 && r.IntN(16) == 0 {
			size = r.IntN(w.Big)
		}
		ms[i] = outbox.Message{
			Lane: outbox.Lane(r.IntN(3)), Durable: n.Safe && (w.MaxLoss > 0 || r.IntN(2) == 0), Readings: 1,
			Body: body(n.First+uint64(i), size, r),
		}
	}
	var err error
	n.IDs, err = q.Put(ctx, ms...)
	switch {
	case err == nil:
		n.What = put
	case errors.Is(err, outbox.ErrNotDurable):
		n.What, n.Error = notSafe, err.Error()
	default:
		n.What, n.Error = refused, err.Error()
	}
	w.tell(n)
}

func (w *worker) sync(ctx context.Context, q *outbox.Outbox) {
	w.mu.Lock()
	w.call++
	n := &note{What: syncing, Call: w.call}
	w.tellLocked(n)
	w.mu.Unlock()
	if q.Sync(ctx) == nil { // a disk that does not work has no promise to check
		n.What = synced
		w.tell(n)
	}
}

// watch tells that the process is alive, and when the disk stops working and works again.
func (w *worker) watch(q *outbox.Outbox, stop <-chan struct{}) {
	was := ""
	for wait(stop, beatEvery) {
		w.tell(&note{What: beat})
		s := q.Stats()
		if (s.Degraded == "") == (was == "") {
			continue
		}
		was = s.Degraded
		if was != "" {
			w.tell(&note{What: degraded, Error: was})
		} else {
			w.tell(&note{What: healed})
		}
	}
}

// wait returns false when stop was closed before the time was over.
func wait(stop <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-stop:
		return false
	case <-t.C:
		return true
	}
}
