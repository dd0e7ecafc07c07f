package hubsim

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
)

// bench is a queue with a record of what has left it.
type bench struct {
	*queue
	mu   sync.Mutex
	left []string
}

func newBench() *bench {
	b := &bench{}
	b.queue = &queue{
		mu: &b.mu, now: time.Now, lock: time.Minute, maxDeliveries: 3, limit: 5, ready: func() {},
		ended: func(it *item, status string) { b.left = append(b.left, string(it.msg.GetData())+" "+status) },
	}
	return b
}

func (b *bench) put(name string, life time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.push(&item{msg: amqp.NewMessage([]byte(name)), expires: time.Now().Add(life)})
}

// get takes the next message and returns its name, deliveries so far and token.
func (b *bench) get() (string, int, token) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it := b.take()
	if it == nil {
		return "", 0, token{}
	}
	return string(it.msg.GetData()), it.deliveries, it.token
}

func (b *bench) done(t token, outcome string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settle(t, outcome)
}

func (b *bench) gone() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

func TestQueueSettlesMixedOutcomes(t *testing.T) {
	b := newBench()
	for _, name := range []string{"a", "b", "c"} {
		b.put(name, time.Hour)
	}
	_, _, a := b.get()
	_, _, r := b.get()
	_, _, c := b.get()
	if name, _, _ := b.get(); name != "" {
		t.Fatalf("%q delivered twice", name)
	}
	if !b.done(c, statusSuccess) || !b.done(a, outcomeReleased) || !b.done(r, statusRejected) {
		t.Fatal("a valid settlement was refused")
	}
	if b.done(c, statusSuccess) || b.done(a, statusSuccess) {
		t.Error("a delivery was settled twice")
	}
	if name, deliveries, _ := b.get(); name != "a" || deliveries != 1 {
		t.Errorf("after the release: %q, %d deliveries; want a, 1", name, deliveries)
	}
	if diff := cmp.Diff([]string{"c Success", "b Rejected"}, b.gone()); diff != "" {
		t.Error(diff)
	}
	b.close()
}

func TestQueueLockEndsAndLateSettlementIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.put("a", time.Hour)
		_, _, late := b.get()
		time.Sleep(time.Minute + time.Millisecond)
		synctest.Wait()
		if b.done(late, statusSuccess) {
			t.Error("a settlement after the lock's end was taken")
		}
		name, deliveries, second := b.get()
		if name != "a" || deliveries != 0 {
			t.Errorf("got %q with %d deliveries, want a with 0: a lost lock does not count", name, deliveries)
		}
		if second == late {
			t.Error("the lock token was used again")
		}
		b.close()
	})
}

func TestQueueCountsLostLocksOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.countLockLoss = true
		b.put("a", time.Hour)
		for range 3 {
			b.get()
			time.Sleep(time.Minute + time.Millisecond)
			synctest.Wait()
		}
		if diff := cmp.Diff([]string{"a DeliveryCountExceeded"}, b.gone()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestQueueMaxDeliveries(t *testing.T) {
	b := newBench()
	b.put("a", time.Hour)
	n := 0
	for {
		name, _, tok := b.get()
		if name == "" {
			break
		}
		n++
		b.done(tok, outcomeReleased)
	}
	if n != 3 {
		t.Errorf("delivered %d times, want 3", n)
	}
	if diff := cmp.Diff([]string{"a DeliveryCountExceeded"}, b.gone()); diff != "" {
		t.Error(diff)
	}
}

func TestQueueExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.put("waiting", 10*time.Second)
		b.put("past", -time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"past Expired"}, b.gone()); diff != "" {
			t.Error(diff)
		}
		b.put("locked", 20*time.Second)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		name, _, tok := b.get()
		if name != "locked" {
			t.Fatalf("got %q", name)
		}
		time.Sleep(30 * time.Second) // past its life, within its lock
		synctest.Wait()
		if !b.done(tok, statusSuccess) {
			t.Error("a delivery in time was not taken")
		}
		b.put("released", 20*time.Second)
		_, _, tok = b.get()
		time.Sleep(30 * time.Second)
		b.done(tok, outcomeReleased)
		want := []string{"past Expired", "waiting Expired", "locked Success", "released Expired"}
		if diff := cmp.Diff(want, b.gone()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestQueueLimit(t *testing.T) {
	b := newBench()
	for range 5 {
		if !b.put("x", time.Hour) {
			t.Fatal("refused below the limit")
		}
	}
	if b.put("x", time.Hour) {
		t.Error("a sixth message was taken")
	}
	b.close()
}
