package iothub_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
	"iotagent/iothub/sas"
)

func bogus() sas.Key { return sas.NewKey([]byte("a key that no hub knows of")) }

func TestSecondKey(t *testing.T) {
	for _, auth := range []iothub.Auth{iothub.AuthSAS, iothub.AuthSASPlain} {
		run(t, nil, func(t *testing.T, b *bed) {
			o := b.options()
			o.Auth, o.Key, o.SecondaryKey = auth, bogus(), b.key
			d := iothub.NewDialer(o)
			c := connect(t, d)
			if s := c.Status(); s.KeyInUse != "secondary" || !s.Parts[iothub.Token].Fine() {
				t.Errorf("%s: %+v", auth, s)
			}
			closeNow(t, c)
			before := b.TokenRequests()
			c = connect(t, d)
			if n := b.TokenRequests() - before; auth == iothub.AuthSAS && n != 1 {
				t.Errorf("%s: %d tokens put when it is known which key works", auth, n)
			}
			if s := c.Status(); s.KeyInUse != "secondary" {
				t.Errorf("%s: key %q", auth, s.KeyInUse)
			}
		})
	}
}

func TestOnlyASecondKey(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		o := b.options()
		o.Key, o.SecondaryKey = sas.Key{}, b.key
		if s := b.dial(o).Status(); s.KeyInUse != "secondary" || b.TokenRequests() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestBothKeysRefused(t *testing.T) {
	for _, auth := range []iothub.Auth{iothub.AuthSAS, iothub.AuthSASPlain} {
		run(t, nil, func(t *testing.T, b *bed) {
			o := b.options()
			o.Auth, o.Key, o.SecondaryKey = auth, bogus(), bogus()
			d := iothub.NewDialer(o)
			for range 2 {
				_, err := d.Dial(t.Context())
				e := want(t, err, iothub.ClassAuth)
				if s := e.Error(); !strings.Contains(s, "the primary one: ") || !strings.Contains(s, "the secondary one: ") || !strings.Contains(e.Hint, "clock or key") {
					t.Errorf("%s: %v, hint %q", auth, e, e.Hint)
				}
			}
			if n := b.TokenRequests(); auth == iothub.AuthSAS && n != 6 {
				t.Errorf("%d tokens put in two attempts, want three in each", n)
			}
		})
	}
}

// A hub that hangs up after its refusal is asked with the other key on another connection, and the refusal is what is reported of the first.
func TestHubHangsUpOnARefusedKey(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		o := b.options()
		o.Key, o.SecondaryKey = bogus(), b.key
		b.OnToken(func(nth int) hubsim.TokenVerdict {
			if nth == 2 {
				go b.DropConnections()
				return hubsim.TokenVerdict{Swallow: true}
			}
			return hubsim.TokenVerdict{}
		})
		if s := b.dial(o).Status(); s.KeyInUse != "secondary" {
			t.Errorf("key %q", s.KeyInUse)
		}
	})
}

// The hub's keys are rolled while the connection lives: the renewal finds the one that is left.
func TestKeyIsRolledWhileConnected(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		o := b.options()
		o.SecondaryKey = b.key
		c := b.dial(o)
		if s := c.Status(); s.KeyInUse != "primary" {
			t.Fatalf("key %q", s.KeyInUse)
		}
		b.RejectNextTokens(2, 401, "The specified SAS token has an invalid signature.")
		time.Sleep(2 * time.Hour)
		if s := c.Status(); s.KeyInUse != "secondary" || c.Err() != nil || s.Parts[iothub.Token].Phase != iothub.Proven {
			t.Errorf("%v, %+v", c.Err(), s)
		}
	})
}

// A disabled device is not a matter of keys.
func TestDisabledDeviceKeepsItsKey(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		if err := b.DisableDevice(device); err != nil {
			t.Fatal(err)
		}
		o := b.options()
		o.SecondaryKey = bogus()
		_, err := iothub.Dial(t.Context(), o)
		if e := want(t, err, iothub.ClassDisabled); !strings.Contains(e.Hint, "enable") || b.TokenRequests() != 1 {
			t.Errorf("hint %q after %d tokens", e.Hint, b.TokenRequests())
		}
	})
}

func TestTokenIsRenewedWhenAsked(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		before := c.Status().TokenExpires
		time.Sleep(5 * time.Second)
		if err := c.RenewToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := c.Status(); s.TokenExpires.Sub(before) != 5*time.Second || b.TokenRequests() != 2 {
			t.Errorf("%+v", s)
		}
		b.RejectNextTokens(2, 401, "no")
		want(t, c.RenewToken(t.Context()), iothub.ClassAuth)
		if h := c.Status().Parts[iothub.Token]; h.Phase != iothub.Doubtful || h.Cause == nil {
			t.Errorf("after a refusal: %+v", h)
		}
		if err := c.RenewToken(t.Context()); err != nil {
			t.Errorf("asked again: %v", err)
		}
		if h := c.Status().Parts[iothub.Token]; h.Phase != iothub.Proven {
			t.Errorf("after the renewal: %+v", h)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		b.SwallowNextTokens(1)
		want(t, c.RenewToken(gone), iothub.ClassNetwork)
		closeNow(t, c)
		if err := c.RenewToken(t.Context()); err == nil {
			t.Error("renewed on a closed connection")
		}
	})
}

func TestTokenThatCannotBeRenewed(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		o := b.options()
		o.Auth = iothub.AuthSASPlain
		c := b.dial(o)
		want(t, c.RenewToken(t.Context()), iothub.ClassAuth)
		if c.Err() != nil {
			t.Error(c.Err())
		}
	})
}

// The token's health: when it must have been renewed, what it is in between, and its end.
func TestHealthOfTheToken(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		start := time.Now()
		c := b.dial(b.options())
		if h := c.Status().Parts[iothub.Token]; h.Phase != iothub.Proven || h.Proof != start || h.Deadline != start.Add(58*time.Minute) {
			t.Errorf("proven: %+v", h)
		}
		b.OnToken(func(int) hubsim.TokenVerdict { return hubsim.TokenVerdict{Status: 500, Text: "later"} })
		time.Sleep(50 * time.Minute)
		if h := c.Status().Parts[iothub.Token]; h.Phase != iothub.Doubtful || h.Cause.Class != iothub.ClassServer || h.Next.Before(time.Now()) {
			t.Errorf("doubtful: %+v", h)
		}
		want(t, ended(t, c, 10*time.Minute), iothub.ClassServer)
		if h := c.Status().Parts[iothub.Token]; h.Phase != iothub.Down || h.Cause == nil {
			t.Errorf("down: %+v", h)
		}
	})
}

func TestClockOrKey(t *testing.T) {
	tests := []struct {
		off  time.Duration // how far this machine's clock is ahead of the hub's
		err  error
		says string
	}{
		{0, nil, "key: the clock is right"},
		{time.Minute, nil, "key: the clock is right (1m0s"},
		{-26 * time.Hour, nil, "clock: this machine's is 26h0m0s behind"},
		{8 * time.Minute, nil, "clock: this machine's is 8m0s ahead"},
		{0, errors.New("no way there"), "no way there"},
	}
	for _, tt := range tests {
		run(t, nil, func(t *testing.T, b *bed) {
			o := b.options()
			o.Key = bogus()
			o.Now = func() time.Time { return wall().Add(tt.off) }
			var asked atomic.Int32
			o.HubTime = func(context.Context) (time.Time, error) { asked.Add(1); return wall(), tt.err }
			_, err := iothub.Dial(t.Context(), o)
			if e := want(t, err, iothub.ClassAuth); !strings.Contains(e.Hint, tt.says) || asked.Load() != 1 {
				t.Errorf("%v: asked %d times, hint %q", tt.off, asked.Load(), e.Hint)
			}
		})
	}
}

// A hub that does not tell the time holds nobody up for long.
func TestHubTimeIsBounded(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		o := b.options()
		o.Key = bogus()
		o.HubTime = func(ctx context.Context) (time.Time, error) { <-ctx.Done(); return time.Time{}, ctx.Err() }
		start := time.Now()
		_, err := iothub.Dial(t.Context(), o)
		want(t, err, iothub.ClassAuth)
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// The clock is set by a year, either way, while a connection lives: the token is judged by the monotonic clock or renewed at once, and neither ends anything.
func TestClockIsSetByAYear(t *testing.T) {
	for _, years := range []int{1, -1} {
		run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
			var off atomic.Int64
			o := b.options()
			o.Now = func() time.Time { return wall().AddDate(int(off.Load()), 0, 0) }
			c := b.dial(o)
			off.Store(int64(years))
			time.Sleep(2 * time.Minute)
			if n := b.TokenRequests(); n != map[int]int{1: 2, -1: 1}[years] {
				t.Errorf("%d years: %d tokens after two minutes", years, n)
			}
			off.Store(0) // and back again
			time.Sleep(3 * time.Hour)
			if c.Err() != nil || !c.Status().TokenExpires.After(wall()) {
				t.Errorf("%d years: %v, %+v", years, c.Err(), c.Status())
			}
			if n := b.TokenRequests(); n < 4 || n > 8 {
				t.Errorf("%d years: %d tokens in three hours", years, n)
			}
		})
	}
}

// A clock that goes wrong by a year and stays wrong has its tokens refused; the connection goes on until the last good one ends, and says why.
func TestClockStaysAYearBehind(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		var off atomic.Int64
		o := b.options()
		o.Now = func() time.Time { return wall().AddDate(int(off.Load()), 0, 0) }
		o.HubTime = func(context.Context) (time.Time, error) { return wall(), nil }
		c := b.dial(o)
		off.Store(-1)
		start := time.Now()
		e := want(t, ended(t, c, time.Hour), iothub.ClassAuth)
		if lived := time.Since(start); lived < 55*time.Minute || !strings.Contains(e.Hint, "behind the hub's") {
			t.Errorf("ended after %v, hint %q", lived, e.Hint)
		}
	})
}
