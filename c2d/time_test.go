package c2d

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestSettleWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fake{run: sleeper(25 * time.Second)}
		b := newBench(t, "", map[string]*fake{"x": h}, nil)
		start := time.Now()
		running := b.send(cmd("s:1", "x", ""))
		waiting := b.send(cmd("s:2", "x", `{"n":2}`))
		want(t, <-running, Accept)
		want(t, <-waiting, Accept)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("accepted after %s, want settle_within", d)
		}
		for id, st := range map[string]state{"s:1": stateBegun, "s:2": stateQueued} {
			rec, err := b.ledger.get(id)
			if err != nil || rec == nil || rec.State != st {
				t.Fatalf("%s: ledger has %+v, %v; want %s", id, rec, err, st)
			}
		}
		for i, at := range []time.Duration{25 * time.Second, 50 * time.Second} {
			rep := <-b.reports
			if rep.MessageID != fmt.Sprint(i+1) || rep.Status != Done || rep.Detail != "slept" || rep.Command != "x" {
				t.Errorf("report %+v", rep)
			}
			if rep.Ended.Sub(start) != at || time.Since(start) != at {
				t.Errorf("report %d ended after %s, came after %s; want %s", i, rep.Ended.Sub(start), time.Since(start), at)
			}
		}
		b.close()
		if h.runs() != 2 {
			t.Errorf("%d runs", h.runs())
		}
	})
}

func TestTryLaterAfterAcceptIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fake{run: func(context.Context, json.RawMessage) Result {
			time.Sleep(15 * time.Second)
			return Result{Status: TryLater, Detail: "battery low"}
		}}
		b := newBench(t, "", map[string]*fake{"x": h}, nil)
		defer b.close()
		want(t, <-b.send(cmd("s:1", "x", "")), Accept)
		if rep := <-b.reports; rep.Status != TryLater || rep.Detail != "battery low" {
			t.Errorf("report %+v", rep)
		}
		synctest.Wait()
		want(t, <-b.send(cmd("s:1", "x", "")), Reject, "try_later: battery low")
	})
}

func TestReleaseSpacesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fake{}
		b := newBench(t, "", map[string]*fake{"x": h}, nil)
		defer b.close()
		start := time.Now()
		last := time.Duration(0)
		for i := range 10 { // as often as a hub delivers
			want(t, <-b.send(cmd("s:1", "x", `{"status":"try_later"}`)), Release)
			took := time.Since(start)
			if took < last || took == 0 || took > 10*time.Second {
				t.Errorf("release %d after %s, the one before after %s", i, took, last)
			}
			start, last = time.Now(), took
		}
		if last != 10*time.Second || h.runs() != 10 {
			t.Errorf("last release after %s, %d runs", last, h.runs())
		}
	})
}

func TestUntrustedClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		careful, harmless := &fake{}, &fake{idempotent: true}
		b := newBench(t, "", map[string]*fake{"careful": careful, "harmless": harmless}, nil)
		defer b.close()
		b.set(func() { b.untrusted = true })
		old := time.Now().Add(-time.Hour)
		c, h := cmd("s:1", "careful", ""), cmd("s:2", "harmless", "")
		c.Expires, h.Expires = old, old
		want(t, <-b.send(c), Release)
		want(t, <-b.send(h), Accept)
		want(t, <-b.send(cmd("s:3", "nobody", "")), Reject, "unknown")
		if careful.runs() != 0 || harmless.runs() != 1 {
			t.Errorf("careful ran %d times, harmless %d", careful.runs(), harmless.runs())
		}
		b.set(func() { b.untrusted = false })
		want(t, <-b.send(c), Reject, "expired")
		want(t, <-b.send(cmd("s:4", "careful", "")), Accept)
	})
}

func TestExpiresInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fake{run: sleeper(20 * time.Second)}
		b := newBench(t, "", map[string]*fake{"x": h}, func(o *Options) { o.Handlers[0].Timeout.Duration = time.Minute })
		defer b.close()
		b.send(cmd("s:1", "x", ""))
		soon, later := cmd("s:2", "x", ""), cmd("s:3", "x", "")
		soon.Expires, later.Expires = time.Now().Add(5*time.Second), time.Now().Add(15*time.Second)
		a, c := b.send(soon), b.send(later)
		want(t, <-a, Accept) // its line moves only after settle_within
		want(t, <-c, Accept)
		if rep := <-b.reports; rep.MessageID != "1" || rep.Status != Done {
			t.Errorf("report %+v", rep)
		}
		for range 2 {
			if rep := <-b.reports; rep.Status != Refused || rep.MessageID == "1" {
				t.Errorf("report %+v", rep)
			}
		}
		if h.runs() != 1 {
			t.Errorf("%d runs", h.runs())
		}
	})
}

func TestExpiresInLineBeforeItIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fake{run: sleeper(5 * time.Second)}
		b := newBench(t, "", map[string]*fake{"x": h}, nil)
		defer b.close()
		b.send(cmd("s:1", "x", ""))
		c := cmd("s:2", "x", "")
		c.Expires = time.Now().Add(3 * time.Second)
		want(t, <-b.send(c), Reject, "expired", "while it waited")
		if rec, err := b.ledger.get("s:2"); rec != nil || err != nil {
			t.Errorf("ledger has %+v, %v", rec, err)
		}
	})
}

func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fake{run: sleeper(time.Second)}
		b := newBench(t, "", map[string]*fake{"x": h}, func(o *Options) { o.Waiting = 2 })
		defer b.close()
		b.send(cmd("s:0", "x", ""))
		synctest.Wait()
		one, two := b.send(cmd("s:1", "x", "")), b.send(cmd("s:2", "x", ""))
		want(t, <-b.send(cmd("s:3", "x", "")), Release)
		want(t, <-one, Accept)
		want(t, <-two, Accept)
	})
}

func TestHandlerThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letGo := make(chan struct{})
		h := &fake{run: func(context.Context, json.RawMessage) Result { <-letGo; return Result{Status: Done} }}
		b := newBench(t, "", map[string]*fake{"x": h, "y": {}}, nil)
		first, next := b.send(cmd("s:1", "x", "")), b.send(cmd("s:2", "x", `{"n":2}`))
		want(t, <-first, Accept)
		want(t, <-next, Accept)
		rep := <-b.reports
		if rep.MessageID != "1" || rep.Status != TimedOut {
			t.Errorf("report %+v", rep)
		}
		want(t, <-b.send(cmd("s:3", "x", "")), Release)
		want(t, <-b.send(cmd("s:4", "y", "")), Accept)
		if st := b.router.Status().Commands[0]; !st.Stuck || st.Waiting != 1 {
			t.Errorf("status %+v", st)
		}
		want(t, <-b.send(cmd("s:1", "x", "")), Reject, "timed_out")
		close(letGo)
		if rep := <-b.reports; rep.MessageID != "2" || rep.Status != Done {
			t.Errorf("report %+v", rep)
		}
		want(t, <-b.send(cmd("s:3", "x", "")), Accept)
		b.close()
	})
}

func TestTimeoutAndPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "", map[string]*fake{
			"slow":  {run: sleeper(time.Hour)},
			"panic": {run: func(context.Context, json.RawMessage) Result { panic("relay on fire") }},
			"odd":   {run: func(context.Context, json.RawMessage) Result { return Result{Status: "fine"} }},
		}, func(o *Options) {
			for i := range o.Handlers {
				o.Handlers[i].Timeout.Duration = 2 * time.Second
			}
		})
		defer b.close()
		want(t, <-b.send(cmd("s:1", "slow", "")), Reject, "timed_out: was ended")
		want(t, <-b.send(cmd("s:2", "panic", "")), Reject, "crashed: ", "relay on fire")
		want(t, <-b.send(cmd("s:3", "odd", "")), Reject, "failed: ", `"fine"`)
		want(t, <-b.send(cmd("s:2", "panic", "")), Reject, "crashed: ")
	})
}

func TestReportIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "", map[string]*fake{"x": {run: sleeper(11 * time.Second)}}, nil)
		b.set(func() { b.reportErr = errors.New("outbox full") })
		want(t, <-b.send(cmd("s:1", "x", "")), Accept)
		time.Sleep(time.Minute)
		b.close()
		if len(b.reports) != 0 {
			t.Fatal("reported in spite of the error")
		}
		b = newBench(t, b.path, nil, nil)
		if err := b.router.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rep := <-b.reports; rep.MessageID != "1" || rep.Status != Done {
			t.Errorf("report %+v", rep)
		}
		b.close()
		b = newBench(t, b.path, nil, nil)
		if err := b.router.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.close()
		if len(b.reports) != 0 {
			t.Errorf("reported again: %+v", <-b.reports)
		}
	})
}

// A disk that fails before a command begins: it is given back and has not run. One that fails while it runs: the outcome waits.
func TestDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fake{}
		b := newBench(t, "", map[string]*fake{"x": h}, nil)
		defer b.close()
		turnFd(t, b.path, os.O_RDONLY)
		want(t, <-b.send(cmd("s:1", "x", "")), Release)
		if h.runs() != 0 {
			t.Fatal("ran without a record on the disk")
		}
		turnFd(t, b.path, os.O_RDWR)
		want(t, <-b.send(cmd("s:1", "x", "")), Accept)

		h.run = func(context.Context, json.RawMessage) Result {
			turnFd(t, b.path, os.O_RDONLY)
			return Result{Status: Failed, Detail: "no pressure"}
		}
		want(t, <-b.send(cmd("s:2", "x", "")), Accept) // begun, and not known on the disk in time
		turnFd(t, b.path, os.O_RDWR)
		if rep := <-b.reports; rep.MessageID != "2" || rep.Status != Failed {
			t.Errorf("report %+v", rep)
		}
		want(t, <-b.send(cmd("s:2", "x", "")), Reject, "failed: no pressure")
		if h.runs() != 2 {
			t.Errorf("%d runs of 2 commands", h.runs())
		}
	})
}

func TestDiskFailsForOneThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fake{run: sleeper(20 * time.Second)}
		b := newBench(t, "", map[string]*fake{"x": h}, nil)
		defer b.close()
		one := b.send(cmd("s:1", "x", ""))
		synctest.Wait()
		two := b.send(cmd("s:2", "x", ""))
		turnFd(t, b.path, os.O_RDONLY)
		want(t, <-one, Accept)
		want(t, <-two, Release)
		turnFd(t, b.path, os.O_RDWR)
		<-b.reports
		synctest.Wait()
		if h.runs() != 1 {
			t.Errorf("%d runs: a released command ran", h.runs())
		}
	})
}
