package c2d

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"iotagent/internal/quantity"
)

// world is a device with its ledger, over power cuts.
type world struct {
	t      *testing.T
	path   string
	ledger *Ledger
	router *Router
	gen    int // which life the device is in

	mu       sync.Mutex
	ran      map[string]int // runs that did something, by command
	accepted map[string]bool
	reported map[string]bool
	done     map[string]bool
	settled  int
	cuts     int
}

// worldHandler does what its arguments say, in its own life only.
type worldHandler struct {
	w          *world
	gen        int
	idempotent bool
}

type worldArgs struct {
	ID     string        `json:"id"`
	Status Status        `json:"status"`
	Takes  time.Duration `json:"takes"`
}

func (h *worldHandler) Check(json.RawMessage) error { return nil }
func (h *worldHandler) Idempotent() bool            { return h.idempotent }
func (h *worldHandler) State() map[string]string    { return nil }
func (h *worldHandler) Close() error                { return nil }

func (h *worldHandler) Run(ctx context.Context, args json.RawMessage) Result {
	var a worldArgs
	if err := json.Unmarshal(args, &a); err != nil {
		panic(err)
	}
	h.w.mu.Lock()
	if h.gen == h.w.gen && a.Status != TryLater && !h.idempotent {
		h.w.ran[a.ID]++
	}
	h.w.mu.Unlock()
	select {
	case <-time.After(a.Takes):
	case <-ctx.Done():
		return Result{Status: TimedOut}
	}
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if h.gen == h.w.gen && a.Status == Done {
		h.w.done[a.ID] = true
	}
	return Result{Status: a.Status}
}

func (w *world) boot() {
	var err error
	if w.ledger, err = OpenLedger(w.path, nil); err != nil {
		w.t.Fatal(err)
	}
	w.gen++
	gen := w.gen
	var hs []NamedHandler
	for _, name := range []string{"once", "often"} {
		c := Common{Name: name, Type: "fake", Timeout: quantity.Seconds(30)}
		hs = append(hs, NamedHandler{c, &worldHandler{w: w, gen: gen, idempotent: name == "often"}})
	}
	w.router = NewRouter(&Options{
		Ledger: w.ledger, Handlers: hs, Logger: slog.New(slog.DiscardHandler),
		Report: func(_ context.Context, r Report) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.gen == gen {
				w.reported[r.MessageID] = true
			}
			return nil
		},
	})
	if err := w.router.Recover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// cut goes on with a copy of the ledger as it is now; the old life ends without a trace.
func (w *world) cut() {
	data, err := os.ReadFile(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.gen++
	w.cuts++
	w.mu.Unlock()
	w.end()
	w.path = filepath.Join(filepath.Dir(w.path), fmt.Sprintf("%d.db", w.gen))
	if err := os.WriteFile(w.path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.boot()
}

func (w *world) end() {
	ctx, cancel := context.WithCancel(w.t.Context())
	cancel()
	if err := w.router.Close(ctx); err != nil {
		w.t.Fatal(err)
	}
	if err := w.ledger.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deliver(c Command) {
	gen := w.gen
	answers := 0
	w.router.Deliver(w.t.Context(), c, func(_ context.Context, s Settlement, reason string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if answers++; answers > 1 {
			w.t.Errorf("%s settled %d times", c.ID, answers)
		}
		if w.gen == gen {
			w.settled++
			if s == Accept {
				w.accepted[c.MessageID] = true
			}
		}
		return nil
	})
}

// TestModel sends commands again and again, in any order, through power cuts: none that may happen once only happens twice, and of each
// that was accepted the cloud learns how it ended.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n), "commands.db")
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		steps := rapid.SliceOfN(rapid.IntRange(0, 15), 5, 30).Draw(rt, "steps")
		ids := map[int]Command{}
		for i := range 8 {
			a := worldArgs{
				ID:     fmt.Sprint(i),
				Status: rapid.SampledFrom([]Status{Done, Failed, TryLater}).Draw(rt, "status"),
				Takes:  time.Duration(rapid.IntRange(0, 25).Draw(rt, "takes")) * time.Second,
			}
			body, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = Command{ID: "s:" + a.ID, MessageID: a.ID, Name: []string{"once", "often"}[i/5], Body: body}
		}
		synctest.Test(t, func(t *testing.T) { play(t, path, steps, ids) })
	})
}

func play(t *testing.T, path string, steps []int, ids map[int]Command) {
	w := &world{t: t, path: path, ran: map[string]int{}, accepted: map[string]bool{}, reported: map[string]bool{}, done: map[string]bool{}}
	w.boot()
	for _, s := range steps {
		switch {
		case s < 8:
			w.deliver(ids[s])
		case s < 12:
			time.Sleep(time.Duration(s-7) * 1500 * time.Millisecond)
		case s < 14:
			time.Sleep(time.Duration(s-11) * 13 * time.Second)
		default:
			synctest.Wait()
			w.cut()
		}
	}
	time.Sleep(time.Hour)
	synctest.Wait()
	w.mu.Lock()
	for id, n := range w.ran {
		if n > 1 {
			t.Errorf("steps %v: command %s ran %d times", steps, id, n)
		}
	}
	for id := range maps.Keys(w.accepted) {
		if !w.done[id] && !w.reported[id] {
			t.Errorf("steps %v: command %s was accepted, and nobody heard how it ended", steps, id)
		}
	}
	w.mu.Unlock()
	w.end()
}
