package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/agent"
	"iotagent/hubsim"
	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
)

// putIn queues n messages of a lane and returns their ids.
func (b *bed) putIn(lane outbox.Lane, n, size int) []string {
	b.t.Helper()
	ms := make([]outbox.Message, n)
	for i := range ms {
		e := agent.Envelope{ContentType: "application/json", ContentEncoding: "utf-8", Body: fmt.Appendf(nil, `{"n":%d,"pad":%q}`, i, strings.Repeat("x", size))}
		ms[i] = outbox.Message{Lane: lane, Body: e.Encode()}
	}
	ids, err := b.queue.Put(b.t.Context(), ms...)
	if err != nil {
		b.t.Fatal(err)
	}
	return texts(ids)
}

func texts(ids []outbox.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

// poison makes the hub refuse every delivery with one of these messages in it.
func (b *bed) poison(condition string, ids []string) {
	b.hub.OnMessages(func(_ string, got []string) hubsim.Verdict {
		for _, id := range ids {
			if slices.Contains(got, id) {
				return hubsim.Verdict{Outcome: hubsim.Reject, Condition: condition}
			}
		}
		return hubsim.Verdict{}
	})
}

func (b *bed) dead() []string {
	b.t.Helper()
	letters, err := b.queue.(*outboxtest.Memory).DeadLetters(10_000)
	if err != nil {
		b.t.Fatal(err)
	}
	var ids []string
	for i := range letters {
		ids = append(ids, letters[i].ID.String())
	}
	slices.Sort(ids)
	return ids
}

// within is until for what the hub cannot tell.
func (b *bed) within(d time.Duration, what string, cond func() bool) {
	b.t.Helper()
	for end := time.Now().Add(d); !cond(); time.Sleep(100 * time.Millisecond) { // virtual
		if time.Now().After(end) {
			b.t.Fatalf("%s: not within %v", what, d)
		}
	}
}

// A batch with a message that the hub will never take is halved until that one is alone. It alone is given up.
func TestPoisonInABatch(t *testing.T) {
	var all []int
	for i := range 100 {
		all = append(all, i)
	}
	tests := []struct {
		name   string
		at     []int
		splits uint64 // at most
	}{
		{"first", []int{0}, 7},
		{"last", []int{99}, 7},
		{"several", []int{0, 1, 49, 50, 98}, 35},
		{"all", all, 99},
	}
	for _, tt := range tests {
		for _, condition := range []string{"com.microsoft:argument-error", "x:never-heard-of", ""} {
			if condition != "com.microsoft:argument-error" && len(tt.at) > 10 {
				continue
			}
			t.Run(tt.name+" "+condition, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBed(t)
					ids := b.putIn(outbox.Normal, 100, 50)
					var bad, good []string
					for i, id := range ids {
						if slices.Contains(tt.at, i) {
							bad = append(bad, id)
						} else {
							good = append(good, id)
						}
					}
					b.poison(condition, bad)
					a, stop := b.run()
					b.until(10*time.Second, "the good ones", func() bool { return b.hub.Accepted() == len(good) })
					b.within(30*time.Minute, "the dead letters", func() bool { return len(b.dead()) == len(bad) })
					synctest.Wait()
					b.wantAll(good)
					if _, again := b.received(); again != 0 {
						t.Errorf("%d messages came twice", again)
					}
					slices.Sort(bad)
					if got := b.dead(); !slices.Equal(got, bad) {
						t.Errorf("dead letters %v, want %v", got, bad)
					}
					if u := a.Status().Link.Uplink; u.SplitBatches == 0 || u.SplitBatches > tt.splits || u.Dead != uint64(len(bad)) || u.Accepted != uint64(len(good)) {
						t.Errorf("uplink %+v", u)
					}
					if err := stop(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// A message refused without a known reason waits for its next try by itself; others go on meanwhile.
func TestUnknownRefusalBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		bad := b.putIn(outbox.Normal, 1, 50)
		var tries []time.Time
		b.hub.OnMessages(func(_ string, ids []string) hubsim.Verdict {
			if slices.Contains(ids, bad[0]) {
				tries = append(tries, time.Now())
				return hubsim.Verdict{Outcome: hubsim.Reject, Condition: "x:never-heard-of"}
			}
			return hubsim.Verdict{}
		})
		_, stop := b.run()
		b.until(time.Minute, "the links", func() bool { return len(b.hub.Links("pi-17")) == 2 })
		for i := range 100 {
			b.putIn(outbox.Normal, 1, 50)
			b.until(100*time.Millisecond, "a message beside the refused one", func() bool { return b.hub.Accepted() == i+1 })
		}
		time.Sleep(5 * time.Minute) // virtual
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got := b.dead(); !slices.Equal(got, bad) {
			t.Errorf("dead letters %v, want %v", got, bad)
		}
		if len(tries) != 5 {
			t.Errorf("%d tries, want 5", len(tries))
		}
		for i := 1; i < len(tries); i++ {
			if d := tries[i].Sub(tries[i-1]); d < time.Second {
				t.Errorf("try %d came %v after the one before", i+1, d)
			}
		}
	})
}

// A hub that refuses everything for a reason nobody knows must not cost everything that waits.
func TestHubThatRefusesEverythingKillsLittle(t *testing.T) {
	for _, condition := range []string{"x:never-heard-of", "amqp:not-allowed"} {
		t.Run(condition, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t)
				ids := b.putIn(outbox.Normal, 5000, 50)
				b.poison(condition, ids)
				_, stop := b.run()
				time.Sleep(10 * time.Minute) // virtual
				b.hub.OnMessages(nil)
				dead := len(b.dead())
				if dead > 300 {
					t.Errorf("%d dead letters after ten minutes", dead)
				}
				b.within(10*time.Minute, "the rest", func() bool { return b.hub.Accepted()+len(b.dead()) >= len(ids) })
				if got := len(b.dead()); got > dead+16 {
					t.Errorf("%d more dead letters after the end of the trouble", got-dead)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What the hub refuses for its own reasons is kept whole: never split, never given up, and sent slowly until it takes messages again.
func TestThrottledBatchesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		const allowed = 10 // transfers a second
		refused, second, n := 0, int64(0), 0
		b.hub.OnTelemetry(func(string, int) hubsim.Verdict {
			if now := time.Now().Unix(); now != second {
				second, n = now, 0
			}
			if n++; n > allowed {
				refused++
				return hubsim.Verdict{Outcome: hubsim.Reject, Condition: "com.microsoft:device-container-throttled", Description: `{"errorCode":429001}`}
			}
			return hubsim.Verdict{}
		})
		const minutes, batch = 2, 10
		b.o.Uplink.BatchMessages = batch
		ids := b.putIn(outbox.Normal, allowed*batch*60*minutes, 50)
		a, stop := b.run()
		time.Sleep(minutes * time.Minute) // virtual
		synctest.Wait()
		during := b.hub.Accepted()
		if u := a.Status().Link.Uplink; u.RatePerSecond == 0 || u.SplitBatches != 0 || u.Batches == 0 {
			t.Errorf("uplink while throttled: %+v", u)
		}
		t.Logf("in %d minutes of 10 batches of 10 a second: %d messages accepted, %d transfers refused", minutes, during, refused)
		if refused > 60*minutes {
			t.Errorf("%d refusals in %d minutes", refused, minutes)
		}
		if during < len(ids)/5 {
			t.Errorf("only %d messages went in %d minutes, %d were possible", during, minutes, len(ids))
		}
		b.hub.OnTelemetry(nil)
		b.until(90*time.Second, "the rest", func() bool { return b.hub.Accepted() >= len(ids) })
		if err := stop(); err != nil {
			t.Error(err)
		}
		if u := a.Status().Link.Uplink; u.Dead != 0 || u.Accepted != uint64(len(ids)) {
			t.Errorf("uplink at the end: %+v", u)
		}
	})
}

// Batches whose acknowledgements were lost come again with the same ids, and nothing else does.
func TestLostBatchAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		var mu sync.Mutex
		lost := map[string]bool{}
		nth := 0
		b.hub.OnMessages(func(_ string, ids []string) hubsim.Verdict {
			mu.Lock()
			defer mu.Unlock()
			if nth++; nth >= 5 && nth < 8 {
				for _, id := range ids {
					lost[id] = true
				}
				return hubsim.Verdict{Outcome: hubsim.Lose}
			}
			return hubsim.Verdict{}
		})
		ids := b.putIn(outbox.Normal, 2000, 50)
		a, stop := b.run()
		b.until(3*time.Minute, "everything", func() bool {
			mu.Lock() // never around a call of the hub, which calls with its own lock held
			n := len(lost)
			mu.Unlock()
			return n > 0 && b.hub.Accepted() == len(ids)+n
		})
		if err := stop(); err != nil {
			t.Error(err)
		}
		b.wantAll(ids)
		seen := map[string]int{}
		for _, e := range b.hub.Events() {
			if seen[e.MessageID]++; seen[e.MessageID] == 2 && !lost[e.MessageID] {
				t.Errorf("%s came twice", e.MessageID)
			}
		}
		if u := a.Status().Link.Uplink; u.Batches == 0 || u.Lost != uint64(len(lost)) || u.Dead != 0 {
			t.Errorf("uplink %+v, %d messages lost their acknowledgement", u, len(lost))
		}
	})
}
