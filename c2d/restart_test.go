package c2d

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// copyLedger is what a power cut at this moment leaves: every commit so far was fsynced.
func copyLedger(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "commands.db")
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// A power cut while two commands run: one by a handler that may do it again.
func TestPowerCutWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var path string
		b := newBench(t, "", map[string]*fake{"once": {run: sleeper(2 * time.Second)}, "often": {run: sleeper(2 * time.Second), idempotent: true}}, nil)
		b.send(cmd("s:1", "once", ""))
		b.send(cmd("s:2", "often", ""))
		synctest.Wait()
		path = copyLedger(t, b.path)
		b.close()

		once, often := &fake{}, &fake{idempotent: true}
		b = newBench(t, path, map[string]*fake{"once": once, "often": often}, nil)
		if err := b.router.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for range 2 {
			rep := <-b.reports
			if rep.Status != Interrupted {
				t.Errorf("report %+v", rep)
			}
			got = append(got, rep.MessageID)
		}
		sort.Strings(got)
		if d := cmp.Diff([]string{"1", "2"}, got); d != "" {
			t.Error(d)
		}
		synctest.Wait()
		want(t, <-b.send(cmd("s:1", "once", "")), Reject, "interrupted: ", "unknown")
		want(t, <-b.send(cmd("s:2", "often", "")), Accept)
		want(t, <-b.send(cmd("s:1", "once", "")), Reject, "interrupted: ")
		want(t, <-b.send(cmd("s:2", "often", "")), Accept)
		if once.runs() != 0 || often.runs() != 1 {
			t.Errorf("once ran %d times, often %d", once.runs(), often.runs())
		}
		b.close()

		b = newBench(t, path, nil, nil)
		if err := b.router.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.close()
		if len(b.reports) != 0 {
			t.Errorf("reported twice: %+v", <-b.reports)
		}
	})
}

// Without Recover, or when it failed, the redelivery itself finds the interrupted command.
func TestInterruptedFoundByRedelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "", map[string]*fake{"x": {run: sleeper(time.Second)}}, nil)
		b.send(cmd("s:1", "x", ""))
		synctest.Wait()
		path := copyLedger(t, b.path)
		b.close()
		h := &fake{}
		b = newBench(t, path, map[string]*fake{"x": h}, nil)
		defer b.close()
		want(t, <-b.send(cmd("s:1", "x", "")), Reject, "interrupted")
		if rep := <-b.reports; rep.Status != Interrupted || h.runs() != 0 {
			t.Errorf("report %+v, %d runs", rep, h.runs())
		}
	})
}

// An idempotent command waits for its interruption to be reported before it runs again: two outcomes of one id in the list of
// those to be reported would be one.
func TestInterruptedIdempotentNotReportedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "", map[string]*fake{"x": {run: sleeper(time.Second)}}, nil)
		b.send(cmd("s:1", "x", ""))
		synctest.Wait()
		path := copyLedger(t, b.path)
		b.close()
		h := &fake{idempotent: true}
		b = newBench(t, path, map[string]*fake{"x": h}, nil)
		defer b.close()
		b.set(func() { b.reportErr = os.ErrClosed })
		if err := b.router.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, <-b.send(cmd("s:1", "x", "")), Release)
		b.set(func() { b.reportErr = nil })
		<-b.reports
		synctest.Wait()
		want(t, <-b.send(cmd("s:1", "x", "")), Accept)
		if h.runs() != 1 {
			t.Errorf("%d runs", h.runs())
		}
	})
}

func TestAcceptedRunsAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "", map[string]*fake{"x": {run: sleeper(25 * time.Second)}}, nil)
		c4 := cmd("s:4", "x", `{"n":4}`)
		c4.Expires = time.Now().Add(20 * time.Second)
		for _, c := range []Command{cmd("s:1", "x", ""), cmd("s:3", "x", `{"n":3}`), cmd("s:2", "x", `{"n":2}`), c4, cmd("s:5", "x", "")} {
			b.send(c)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(11 * time.Second) // all are accepted by now
		path := copyLedger(t, b.path)
		time.Sleep(10 * time.Second)
		b.close()

		h := &fake{}
		b = newBench(t, path, map[string]*fake{"x": h}, nil)
		b.set(func() { b.untrusted = true })
		if err := b.router.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rep := <-b.reports; rep.Status != Interrupted || rep.MessageID != "1" {
			t.Errorf("report %+v", rep)
		}
		time.Sleep(time.Minute)
		if h.runs() != 0 {
			t.Error("ran before the time was known")
		}
		again := b.send(cmd("s:3", "x", `{"n":3}`))
		want(t, <-again, Accept)
		b.set(func() { b.untrusted = false })
		for _, exp := range []struct {
			id string
			st Status
		}{{"3", Done}, {"2", Done}, {"4", Refused}, {"5", Done}} {
			if rep := <-b.reports; rep.MessageID != exp.id || rep.Status != exp.st {
				t.Errorf("report %+v, want %v", rep, exp)
			}
		}
		synctest.Wait()
		b.close()
		if d := cmp.Diff([]string{`{"n":3}`, `{"n":2}`, ""}, h.ran); d != "" {
			t.Error(d)
		}
	})
}

func TestAcceptedForAHandlerThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "", map[string]*fake{"x": {run: sleeper(25 * time.Second)}}, nil)
		b.send(cmd("s:1", "x", ""))
		want(t, <-b.send(cmd("s:2", "x", "")), Accept)
		path := copyLedger(t, b.path)
		b.close()
		b = newBench(t, path, nil, nil)
		defer b.close()
		if err := b.router.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := map[string]Status{}
		for range 2 {
			rep := <-b.reports
			got[rep.MessageID] = rep.Status
		}
		if d := cmp.Diff(map[string]Status{"1": Interrupted, "2": Refused}, got); d != "" {
			t.Error(d)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, long := &fake{run: sleeper(5 * time.Second)}, &fake{run: sleeper(29 * time.Second)}
		b := newBench(t, "", map[string]*fake{"quick": quick, "long": long}, nil)
		q, l := b.send(cmd("s:1", "quick", "")), b.send(cmd("s:2", "long", ""))
		synctest.Wait()
		waits := b.send(cmd("s:3", "long", ""))
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		start := time.Now()
		if err := b.router.Close(ctx); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 8*time.Second {
			t.Errorf("closed after %s", d)
		}
		want(t, <-q, Accept)
		want(t, <-l, Reject, "interrupted: ", "agent stopped", "was ended")
		want(t, <-waits, Release)
		want(t, <-b.send(cmd("s:4", "quick", "")), Release)
		if quick.closed != 1 || long.closed != 1 || long.runs() != 1 {
			t.Errorf("closed %d and %d times, long ran %d times", quick.closed, long.closed, long.runs())
		}
		if err := b.router.Close(ctx); err != nil || quick.closed != 1 {
			t.Errorf("second Close: %v, handlers closed %d times", err, quick.closed)
		}
		rec, err := b.ledger.get("s:2")
		if err != nil || rec.Result.Status != Interrupted {
			t.Errorf("ledger has %+v, %v", rec, err)
		}
		if rep := <-b.reports; rep.Status != Interrupted { // told while it closed
			t.Errorf("report %+v", rep)
		}
		if err := b.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWithAHandlerThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letGo := make(chan struct{})
		h := &fake{run: func(context.Context, json.RawMessage) Result { <-letGo; return Result{Status: Done} }}
		b := newBench(t, "", map[string]*fake{"x": h}, nil)
		got := b.send(cmd("s:1", "x", ""))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.router.Close(ctx); err == nil {
			t.Error("no word about the handler")
		}
		want(t, <-got, Reject, "interrupted")
		if h.closed != 0 {
			t.Error("closed under a run")
		}
		close(letGo)
	})
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "", map[string]*fake{"x": {run: sleeper(time.Second)}}, nil)
		defer b.close()
		start := time.Now().UTC()
		one := b.send(cmd("s:1", "x", ""))
		b.send(cmd("s:2", "x", ""))
		synctest.Wait()
		got := b.router.Status()
		exp := Snapshot{Commands: []CommandStatus{{
			Name: "x", Type: "fake", State: map[string]string{"kind": "fake"}, Running: &Running{ID: "s:1", Since: start}, Waiting: 1,
		}}}
		if d := cmp.Diff(exp, got); d != "" {
			t.Error(d)
		}
		want(t, <-one, Accept)
		last := b.router.Status().Commands[0].Last
		if d := cmp.Diff(&Ended{ID: "s:1", Result: Result{Status: Done, Detail: "slept"}, At: start.Add(time.Second)}, last); d != "" {
			t.Error(d)
		}
	})
}
