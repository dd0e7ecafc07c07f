package patience_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"iotagent/agent/patience"
	"iotagent/iothub"
)

func failed(class iothub.Class) error { return &iothub.Error{Op: "dial", Class: class} }

func coded(code int) error {
	return &iothub.Error{Op: "connection", Class: iothub.ClassServer, Condition: "amqp:connection:forced", Description: fmt.Sprintf(`{"errorCode":%d}`, code)}
}

// drawn returns the least and the longest of the nth waits of many agents.
func drawn(n int, err error, lived time.Duration, worked bool) (low, high time.Duration) {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	low = time.Hour
	for range 3000 {
		p := patience.New(r)
		var d time.Duration
		for range n {
			d = p.Next(err, lived, worked)
		}
		low, high = min(low, d), max(high, d)
	}
	return low, high
}

// The table of the package's comment, row by row: the first wait and the twelfth, which is at the cap.
func TestTable(t *testing.T) {
	const s, m = time.Second, time.Minute
	tests := []struct {
		what              string
		err               error
		worked            bool
		floor, first, cap time.Duration
	}{
		{"network, it worked", failed(iothub.ClassNetwork), true, s / 10, 3 * s, 3 * s},
		{"server, it worked", failed(iothub.ClassServer), true, s / 10, 3 * s, 3 * s},
		{"network", failed(iothub.ClassNetwork), false, s / 2, 3 * s, 30 * s},
		{"server", failed(iothub.ClassServer), false, s / 2, 3 * s, 30 * s},
		{"protocol", failed(iothub.ClassProtocol), false, 2 * s, 4 * s, m},
		{"message", failed(iothub.ClassMessage), true, 2 * s, 4 * s, m},
		{"unknown", failed(iothub.ClassUnknown), false, 2 * s, 4 * s, m},
		{"auth", failed(iothub.ClassAuth), false, 5 * s, 10 * s, 2 * m},
		{"clock", failed(iothub.ClassClock), false, 5 * s, 10 * s, 2 * m},
		{"throttled", failed(iothub.ClassThrottled), false, 10 * s, m, m},
		{"disabled", failed(iothub.ClassDisabled), false, 20 * s, 40 * s, 5 * m},
		{"displaced", failed(iothub.ClassDisplaced), true, 30 * s, 2 * m, 5 * m},
		{"quota", failed(iothub.ClassQuota), false, m, 2 * m, 10 * m},
		{"no error of iothub", io.ErrUnexpectedEOF, false, s / 2, 3 * s, 30 * s},
		{"wrapped", fmt.Errorf("x: %w", failed(iothub.ClassQuota)), false, m, 2 * m, 10 * m},
	}
	for _, tt := range tests {
		for n, top := range map[int]time.Duration{1: tt.first, 12: tt.cap} {
			low, high := drawn(n, tt.err, 0, tt.worked)
			edge := (top - tt.floor) / 20 // of 3000 draws one lies in the outer twentieths, but for odds of 1 to 10⁶⁶
			if low < tt.floor || low > tt.floor+edge || high > top || high < top-edge {
				t.Errorf("%s, wait %d: %v to %v, want %v to %v", tt.what, n, low, high, tt.floor, top)
			}
		}
	}
}

func TestRedirectIsFollowedAtOnceAndThenNot(t *testing.T) {
	p := patience.New(nil)
	if d := p.Next(failed(iothub.ClassRedirect), 0, true); d != 0 {
		t.Errorf("first wait %v", d)
	}
	for range 50 {
		if d := p.Next(failed(iothub.ClassRedirect), 50*time.Second, true); d < 2*time.Second || d > time.Minute {
			t.Fatalf("wait %v", d)
		}
	}
	if d := p.Next(failed(iothub.ClassRedirect), time.Minute, true); d != 0 {
		t.Errorf("wait %v after a minute on the line", d)
	}
}

func TestUpgradeIsAnsweredAtOnceAndThenNot(t *testing.T) {
	for _, worked := range []bool{true, false} {
		low, high := drawn(1, coded(400029), 30*time.Second, worked)
		if low > 50*time.Millisecond || high > time.Second || high < 950*time.Millisecond {
			t.Errorf("worked %v: first wait %v to %v", worked, low, high)
		}
		low, high = drawn(2, coded(400029), 30*time.Second, worked)
		if low < 500*time.Millisecond || high < 2900*time.Millisecond {
			t.Errorf("worked %v: second wait %v to %v", worked, low, high)
		}
	}
	if low, _ := drawn(1, coded(400030), 0, false); low < 500*time.Millisecond {
		t.Errorf("400030 is answered after %v", low)
	}
}

// A connection that worked and is then called unauthorized is made anew at once, with a new token; when that does not help, slowly.
func TestUnauthorizedAfterItWorked(t *testing.T) {
	for range 200 {
		p := patience.New(nil)
		if d := p.Next(failed(iothub.ClassAuth), 10*time.Second, true); d > 3*time.Second {
			t.Fatalf("first wait %v", d)
		}
		if d := p.Next(failed(iothub.ClassAuth), 10*time.Second, true); d < 5*time.Second || d > 10*time.Second {
			t.Fatalf("second wait %v", d)
		}
		if d := p.Next(failed(iothub.ClassAuth), time.Minute, true); d > 3*time.Second {
			t.Fatalf("wait %v after a minute on the line", d)
		}
	}
}

// Only a minute of stability begins a series anew, not a connection that came about.
func TestSeriesEndsAfterAMinute(t *testing.T) {
	tired := func(class iothub.Class) *patience.Patience {
		p := patience.New(nil)
		for range 40 {
			p.Next(failed(class), 0, false)
		}
		return p
	}
	fresh := 0
	for range 200 {
		p := tired(iothub.ClassNetwork)
		if p.Next(failed(iothub.ClassNetwork), 59*time.Second, false) > 3*time.Second {
			fresh++
		}
		if d := p.Next(failed(iothub.ClassNetwork), time.Minute, false); d > 3*time.Second {
			t.Fatalf("wait %v after a stable minute", d)
		}
	}
	if fresh < 100 { // nine in ten
		t.Errorf("only %d of 200 waits after 59 s were of the old series", fresh)
	}
}

// Two clients with one identity displace each other each time the other has waited: peace of a minute between them is none.
func TestDisplacedIsNotCalmedByAMinute(t *testing.T) {
	long := 0
	for range 200 {
		p := patience.New(nil)
		for range 3 {
			p.Next(failed(iothub.ClassDisplaced), 2*time.Minute, true)
		}
		if p.Next(failed(iothub.ClassDisplaced), 5*time.Minute, true) > 2*time.Minute {
			long++
		}
		if d := p.Next(failed(iothub.ClassDisplaced), 15*time.Minute, true); d > 2*time.Minute {
			t.Fatalf("wait %v after a quarter of an hour", d)
		}
	}
	if long < 60 { // two in three
		t.Errorf("%d of 200 waits were longer than the first may be", long)
	}
}

// Each class has a series of its own: a throttled connect does not make the next loss of the network a long one.
func TestSeriesAreApart(t *testing.T) {
	p := patience.New(nil)
	for range 20 {
		p.Next(failed(iothub.ClassAuth), 0, false)
	}
	if d := p.Next(errors.New("lost"), 0, false); d > 3*time.Second {
		t.Errorf("wait %v", d)
	}
}

// Nothing is fatal for ever, and nothing is hammered, whatever class a later version may know.
func TestEveryClassWaits(t *testing.T) {
	for _, class := range []iothub.Class{"", "new", iothub.ClassNetwork, iothub.ClassDisabled, iothub.ClassDisplaced} {
		p := patience.New(nil)
		for range 100 {
			if d := p.Next(failed(class), 0, false); d < 500*time.Millisecond || d > 10*time.Minute {
				t.Fatalf("%q: wait %v", class, d)
			}
		}
	}
}
