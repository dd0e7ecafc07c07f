package iothub_test

import (
	"sync/atomic"
	"testing"
	"time"

	"iotagent/hubsim"
	"iotagent/iothub"
)

func TestTokenIsRenewedOnTheLivingConnection(t *testing.T) {
	for _, ttl := range []time.Duration{10 * time.Second, 10 * time.Minute, time.Hour} {
		run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
			o := b.options()
			o.TokenTTL = ttl
			c := b.dial(o)
			since := c.Status().Parts[iothub.Connection].Since
			for n := range 20 {
				time.Sleep(ttl / 2)
				if o := send(t, c, n); o.State != iothub.Accepted {
					t.Fatalf("%v: %d: %+v", ttl, n, o)
				}
			}
			if n := b.TokenRequests(); n < 11 || n > 30 {
				t.Errorf("%v: %d tokens in ten lives of one", ttl, n)
			}
			if s := c.Status(); s.Parts[iothub.Connection].Since != since || !s.TokenExpires.After(wall()) {
				t.Errorf("%v: status %+v", ttl, s)
			}
		})
	}
}

func TestLostTokenRequestIsRepeated(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		b.OnToken(func(nth int) hubsim.TokenVerdict { return hubsim.TokenVerdict{Swallow: nth <= 3} })
		time.Sleep(59 * time.Minute)
		if c.Err() != nil || !c.Status().TokenExpires.After(wall().Add(30*time.Minute)) {
			t.Errorf("%v, %+v", c.Err(), c.Status())
		}
	})
}

func TestTokenTimeoutAtDial(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		b.OnToken(func(int) hubsim.TokenVerdict { return hubsim.TokenVerdict{Swallow: true} })
		o := b.options()
		o.CBSTimeout = 7 * time.Second
		start := time.Now()
		_, err := iothub.Dial(t.Context(), o)
		e := want(t, err, iothub.ClassNetwork)
		if took := time.Since(start); e.Op != "put-token" || took > 8*time.Second {
			t.Errorf("%v after %v", e, took)
		}
	})
}

// A refusal is answered by one fresh token at once; the connection works on as long as the old token lives.
func TestRefusedRenewal(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		var asked atomic.Int32
		b.OnToken(func(int) hubsim.TokenVerdict {
			asked.Add(1)
			return hubsim.TokenVerdict{Status: 401, Text: "The specified SAS token has an invalid signature."}
		})
		time.Sleep(50 * time.Minute)
		if n := asked.Load(); n != 2 {
			t.Errorf("%d tokens put in the first minutes", n)
		}
		if o := send(t, c, 1); o.State != iothub.Accepted {
			t.Errorf("outcome %+v", o)
		}
		want(t, ended(t, c, 10*time.Minute), iothub.ClassAuth)
		if left := time.Until(c.Status().TokenExpires.AddDate(-28, 0, 0)); left < 0 {
			t.Errorf("the token ended %v before the client", -left)
		}
		if n := asked.Load(); n > 10 {
			t.Errorf("%d tokens put", n)
		}
	})
}

func TestRefusedOnceIsRenewed(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		b.RejectNextTokens(1, 401, "Unauthorized")
		time.Sleep(3 * time.Hour)
		if c.Err() != nil {
			t.Error(c.Err())
		}
	})
}

func TestHubBusyAtRenewal(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		c := b.dial(b.options())
		var asked atomic.Int32
		b.OnToken(func(int) hubsim.TokenVerdict {
			asked.Add(1)
			return hubsim.TokenVerdict{Status: 500, Text: "later"}
		})
		want(t, ended(t, c, time.Hour), iothub.ClassServer)
		if n := asked.Load(); n < 10 || n > 120 {
			t.Errorf("%d tokens put in ten minutes", n)
		}
	})
}

// SASL PLAIN binds the token to the connection, which ends itself in time and with nothing in flight.
func TestPlainEndsBeforeItsToken(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		o := b.options()
		o.Auth = iothub.AuthSASPlain
		c := b.dial(o)
		b.OnTelemetry(func(string, int) hubsim.Verdict { return hubsim.Verdict{Delay: 5 * time.Second} })
		outcomes := make(chan iothub.Outcome, 1000)
		for n := 0; ; n++ {
			r, err := c.Send(t.Context(), message(n))
			if err != nil {
				want(t, err, iothub.ClassNetwork)
				break
			}
			go func() { outcomes <- r.Wait(t.Context()) }()
			select {
			case <-time.After(7 * time.Second):
			case <-c.Done():
			}
			if n > 999 {
				t.Fatal("it does not end")
			}
		}
		want(t, ended(t, c, 10*time.Second), iothub.ClassNetwork)
		if !c.Status().TokenExpires.After(wall()) {
			t.Error("the token ended first")
		}
		for range b.Accepted() {
			if o := <-outcomes; o.State != iothub.Accepted {
				t.Errorf("outcome %+v", o)
			}
		}
	})
}

func TestGivenTokenEnds(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		o := b.options()
		o.Token = b.key.Token("localhost/devices/"+device, wall().Add(10*time.Minute), "")
		c := b.dial(o)
		if e := want(t, ended(t, c, 10*time.Minute), iothub.ClassAuth); e.Hint == "" {
			t.Error("no hint")
		}
		time.Sleep(10 * time.Minute)
		_, err := iothub.Dial(t.Context(), o)
		if e := want(t, err, iothub.ClassAuth); e.Hint == "" {
			t.Error("no hint")
		}
	})
}

// The board was asleep, or the clock was set: the wall clock passes the token's end though little time went by.
func TestWallClockJumps(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		var jump atomic.Int64
		o := b.options()
		o.Now = func() time.Time { return wall().Add(time.Duration(jump.Load())) }
		c := b.dial(o)
		jump.Store(int64(55 * time.Minute))
		time.Sleep(2 * time.Minute)
		if n := b.TokenRequests(); n != 2 || c.Err() != nil {
			t.Errorf("%d tokens, %v", n, c.Err())
		}
	})
}

// No token is minted while the clock is wrong, however it came to be so.
func TestClockIsLostBeforeRenewal(t *testing.T) {
	run(t, &hubsim.Options{TokenGrace: -1}, func(t *testing.T, b *bed) {
		var lost atomic.Bool
		o := b.options()
		o.Now = func() time.Time {
			if lost.Load() {
				return time.Unix(0, 0)
			}
			return wall()
		}
		c := b.dial(o)
		lost.Store(true)
		want(t, ended(t, c, time.Hour), iothub.ClassClock)
		if n := b.TokenRequests(); n != 1 {
			t.Errorf("%d tokens", n)
		}
	})
}
