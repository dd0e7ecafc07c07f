package iothub

import (
	"testing"
	"time"
)

// Ten thousand devices got their tokens in the same second, and renew them over minutes.
func TestRenewalsOfAFleet(t *testing.T) {
	const fleet = 10_000
	tok := &token{life: time.Hour}
	seconds := map[int]int{}
	for range fleet {
		at := tok.renewAfter()
		if at > 48*time.Minute || at < 43*time.Minute {
			t.Fatalf("renewed after %v", at)
		}
		seconds[int(at/time.Second)]++
	}
	for s, n := range seconds {
		if n > 110 { // 35 on average; more than 110 once in 10²³ runs
			t.Errorf("%d tokens in second %d", n, s)
		}
	}
}

// However short a token's life, it is renewed before the connection is given up for it.
func TestRenewalIsBeforeTheReserve(t *testing.T) {
	for _, life := range []time.Duration{time.Second, time.Minute, 10 * time.Minute, time.Hour, 24 * time.Hour, 365 * 24 * time.Hour} {
		tok := &token{life: life}
		for range 1000 {
			if at := tok.renewAfter(); at <= life/4 || at > life-tok.reserve() {
				t.Fatalf("life %v: renewed after %v, given up after %v", life, at, life-tok.reserve())
			}
		}
	}
}
