package backoff_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/internal/backoff"
)

func TestNextStaysWithinItsRangeAndUsesAllOfIt(t *testing.T) {
	const floor, limit = 100 * time.Millisecond, time.Second
	for n, top := range []time.Duration{200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, limit, limit} {
		low, high := time.Duration(math.MaxInt64), time.Duration(0)
		for range 2000 {
			b := backoff.Backoff{Floor: floor, Cap: limit}
			for range n {
				b.Next()
			}
			d := b.Next()
			low, high = min(low, d), max(high, d)
		}
		if low < floor || high > top {
			t.Errorf("failure %d: %v to %v, want %v to %v", n+1, low, high, floor, top)
		}
		// Of 2000 draws one lies in the outer twentieths, but for odds of 1 to 10⁴⁴.
		if edge := (top - floor) / 20; low > floor+edge || high < top-edge {
			t.Errorf("failure %d: %v to %v does not use %v to %v", n+1, low, high, floor, top)
		}
	}
}

func TestNextDoesNotOverflow(t *testing.T) {
	for _, b := range []backoff.Backoff{
		{Floor: time.Hour, Cap: 24 * time.Hour},
		{Floor: 1, Cap: time.Minute},
		{Floor: math.MaxInt64 / 3, Cap: math.MaxInt64 / 2},
		{Floor: time.Second, Cap: time.Second},
	} {
		for n := range 200 {
			if d := b.Next(); d < b.Floor || d > b.Cap {
				t.Fatalf("%v to %v: failure %d waits %v", b.Floor, b.Cap, n+1, d)
			}
		}
		if b.Failures() != 200 {
			t.Errorf("%d failures", b.Failures())
		}
	}
}

func TestResetStartsAgain(t *testing.T) {
	b := backoff.Backoff{Floor: time.Millisecond, Cap: time.Hour}
	for range 100 {
		for range 20 {
			b.Next()
		}
		b.Reset()
		if d := b.Next(); d > 2*time.Millisecond || b.Failures() != 1 {
			t.Fatalf("first wait %v after %d failures", d, b.Failures())
		}
		b.Reset()
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		if err := backoff.Sleep(t.Context(), time.Minute); err != nil || time.Since(started) != time.Minute {
			t.Errorf("slept %v: %v", time.Since(started), err)
		}
		gone := errors.New("the caller is gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		started = time.Now()
		if err := backoff.Sleep(ctx, time.Hour); !errors.Is(err, gone) || time.Since(started) != time.Second {
			t.Errorf("slept %v: %v", time.Since(started), err)
		}
		if err := backoff.Sleep(ctx, time.Hour); !errors.Is(err, gone) {
			t.Errorf("a context that has ended: %v", err)
		}
	})
}
