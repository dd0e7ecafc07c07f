package c2d

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOutcomes(t *testing.T) {
	tests := []struct {
		status Status
		s      Settlement
		kept   bool
	}{
		{Done, Accept, true},
		{Refused, Reject, true},
		{Failed, Reject, true},
		{TimedOut, Reject, true},
		{Crashed, Reject, true},
		{TryLater, Release, false},
	}
	for _, tt := range tests {
		t.Run(string(tt.status), func(t *testing.T) {
			h := &fake{}
			b := newBench(t, "", map[string]*fake{"x": h}, nil)
			defer b.close()
			got := <-b.send(cmd("s:1", "x", fmt.Sprintf(`{"status":%q,"detail":"why"}`, tt.status)))
			if tt.s == Reject {
				want(t, got, Reject, string(tt.status)+": why")
			} else {
				want(t, got, tt.s)
			}
			rec, err := b.ledger.get("s:1")
			if err != nil || (rec != nil) != tt.kept {
				t.Fatalf("ledger has %v, %v; want a record: %v", rec, err, tt.kept)
			}
			if tt.kept && (rec.State != stateFinished || rec.Result.Status != tt.status || rec.Body != nil) {
				t.Errorf("ledger has %+v", rec)
			}
			if len(b.reports) != 0 {
				t.Errorf("an outcome that the settlement tells was also reported: %+v", <-b.reports)
			}
		})
	}
}

func TestRefusedAndNothingRan(t *testing.T) {
	h := &fake{check: func(args json.RawMessage) error {
		switch string(args) {
		case `{"bad":1}`:
			return errors.New("bad: no such key")
		case `{"panic":1}`:
			panic("oops")
		}
		return nil
	}}
	b := newBench(t, "", map[string]*fake{"valve": h, "lamp": {}}, nil)
	defer b.close()
	old := cmd("s:old", "valve", "")
	old.Expires = time.Now().Add(-time.Minute)
	tests := []struct {
		name  string
		c     Command
		words []string
	}{
		{"expired", old, []string{"expired at", "1m0s before", "not run"}},
		{"unknown", cmd("s:1", "valv", ""), []string{`unknown command "valv"`, "known: lamp, valve"}},
		{"nameless", cmd("s:2", "", ""), []string{"no command", "subject", "lamp, valve"}},
		{"broken JSON", cmd("s:3", "valve", `{"a":`), []string{"valve", "not JSON", "byte 5"}},
		{"trailing", cmd("s:4", "valve", `{} {}`), []string{"not JSON"}},
		{"array", cmd("s:5", "valve", `[1]`), []string{"not a JSON object"}},
		{"null", cmd("s:6", "valve", `null`), []string{"null"}},
		{"not UTF-8", cmd("s:7", "valve", "\xff\xfe"), []string{"not JSON"}},
		{"arguments", cmd("s:8", "valve", `{"bad":1}`), []string{"valve: bad: no such key"}},
		{"panic in check", cmd("s:9", "valve", `{"panic":1}`), []string{"crashed", "oops"}},
		{"no id", cmd("", "valve", ""), []string{"message-id"}},
		{"long id", cmd(strings.Repeat("x", 1025), "valve", ""), []string{"1025 bytes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want(t, <-b.send(tt.c), Reject, append(tt.words, "refused: ")...)
			if tt.c.ID == "" || len(tt.c.ID) > 1024 {
				return
			}
			if rec, err := b.ledger.get(tt.c.ID); rec != nil || err != nil {
				t.Errorf("ledger has %+v, %v", rec, err)
			}
		})
	}
	if h.runs() != 0 {
		t.Errorf("the handler ran %d times", h.runs())
	}
	if got := b.router.Status().Unknown; got != 2 {
		t.Errorf("counted %d unknown commands, want 2", got)
	}
}

func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := map[string]*fake{"a": {}, "b": {}}
		b := newBench(t, "", h, nil)
		defer b.close()
		kinds := []struct {
			body string
			s    Settlement
		}{{`{}`, Accept}, {`{"status":"failed","detail":"no"}`, Reject}, {`{"status":"try_later"}`, Release}, {`{`, Reject}}
		var replies []<-chan reply
		for i := range 40 {
			replies = append(replies, b.send(cmd(fmt.Sprint("u:", i), []string{"a", "b"}[i/2%2], kinds[i%4].body)))
		}
		for i, ch := range replies {
			if got := <-ch; got.S != kinds[i%4].s {
				t.Errorf("command %d settled %d (%q), want %d", i, got.S, got.Reason, kinds[i%4].s)
			}
		}
		if n := h["a"].runs() + h["b"].runs(); n != 30 {
			t.Errorf("%d runs, want 30", n)
		}
	})
}

func TestInOrderOneAtATime(t *testing.T) {
	h := &fake{}
	b := newBench(t, "", map[string]*fake{"x": h}, nil)
	defer b.close()
	var order []string
	busy := false
	h.run = func(_ context.Context, args json.RawMessage) Result {
		if busy {
			t.Error("two runs at once")
		}
		busy = true
		order = append(order, string(args))
		busy = false
		return Result{Status: Done}
	}
	var exp []string
	var replies []<-chan reply
	for i := range 20 {
		body := fmt.Sprintf(`{"n":%d}`, i)
		exp = append(exp, body)
		replies = append(replies, b.send(cmd(fmt.Sprint("u:", i), "x", body)))
	}
	for _, ch := range replies {
		want(t, <-ch, Accept)
	}
	if d := cmp.Diff(exp, order); d != "" {
		t.Error(d)
	}
}

func TestRedelivery(t *testing.T) {
	h := &fake{}
	b := newBench(t, "", map[string]*fake{"x": h}, nil)
	failed := cmd("s:f", "x", `{"status":"failed","detail":"stuck valve"}`)
	want(t, <-b.send(cmd("s:1", "x", "")), Accept)
	want(t, <-b.send(failed), Reject, "failed: stuck valve")

	want(t, <-b.send(cmd("s:1", "x", "")), Accept)
	want(t, <-b.send(failed), Reject, "failed: stuck valve")
	want(t, <-b.send(cmd("s:1", "x", `{"tag":"other"}`)), Reject, "id reused")
	want(t, <-b.send(cmd("s:1", "y", "")), Reject, "id reused")
	expired := cmd("s:1", "x", "")
	expired.Expires = time.Now().Add(-time.Hour)
	want(t, <-b.send(expired), Accept) // the truth, late
	st := b.router.Status().Commands[0]
	if st.Duplicates != 3 || st.Done != 1 {
		t.Errorf("status %+v", st)
	}
	b.close()

	b = newBench(t, b.path, map[string]*fake{"x": h}, nil)
	want(t, <-b.send(cmd("s:1", "x", "")), Accept)
	want(t, <-b.send(failed), Reject, "failed: stuck valve")
	b.close()
	b = newBench(t, b.path, nil, nil) // the handler is not configured any more
	defer b.close()
	want(t, <-b.send(cmd("s:1", "x", "")), Accept)
	if h.runs() != 2 {
		t.Errorf("%d runs of 2 commands", h.runs())
	}
}

func TestRedeliveryWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fake{run: sleeper(5 * time.Second)}
		b := newBench(t, "", map[string]*fake{"x": h}, nil)
		defer b.close()
		first := b.send(cmd("s:1", "x", ""))
		time.Sleep(time.Second)
		again := b.send(cmd("s:1", "x", ""))
		other := b.send(cmd("s:1", "x", `{"n":1}`))
		want(t, <-other, Reject, "id reused")
		want(t, <-first, Accept)
		want(t, <-again, Accept)
		if h.runs() != 1 {
			t.Errorf("ran %d times", h.runs())
		}
	})
}

func TestManyRedeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fake{run: sleeper(5 * time.Second)}
		b := newBench(t, "", map[string]*fake{"x": h}, nil)
		defer b.close()
		var chans []<-chan reply
		for range 20 {
			chans = append(chans, b.send(cmd("s:1", "x", "")))
		}
		counts := map[Settlement]int{}
		for _, ch := range chans {
			counts[(<-ch).S]++
		}
		if h.runs() != 1 || counts[Accept] != 8 || counts[Release] != 12 {
			t.Errorf("%d runs, settlements %v", h.runs(), counts)
		}
	})
}

// sleeper ends with done after d, or timed_out when its context ends before.
func sleeper(d time.Duration) func(context.Context, json.RawMessage) Result {
	return func(ctx context.Context, _ json.RawMessage) Result {
		select {
		case <-time.After(d):
			return Result{Status: Done, Detail: "slept"}
		case <-ctx.Done():
			return Result{Status: TimedOut, Detail: "was ended"}
		}
	}
}
