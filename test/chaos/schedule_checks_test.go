package chaos

import (
	"slices"
	"testing"
	"time"
)

// first returns the first n steps of a schedule.
func first(seed uint64, kinds []trouble, n int) []step {
	var all []step
	for s := range schedule(seed, kinds) {
		if all = append(all, s); len(all) == n {
			break
		}
	}
	return all
}

func TestScheduleIsTheSeedsOnly(t *testing.T) {
	words := func(seed uint64) []string {
		var all []string
		for _, s := range first(seed, troubles("localhost:1"), 300) {
			all = append(all, s.title(), s.hold.String(), s.pause.String())
		}
		return all
	}
	if !slices.Equal(words(7), words(7)) {
		t.Error("the same seed gave two schedules")
	}
	if slices.Equal(words(7), words(8)) {
		t.Error("two seeds gave the same schedule")
	}
}

func TestScheduleHasEveryTroubleOnceInARound(t *testing.T) {
	for _, long := range []bool{false, true} {
		kinds := fit(troubles("localhost:1"), long)
		seen, seconds := map[string]int{}, 0
		for _, s := range first(3, kinds, 2*len(kinds)) {
			seen[s.name]++
			if s.second != nil {
				seconds++
			}
			if s.hold < s.least || s.hold > s.most || s.pause < time.Second || s.slow && !long {
				t.Errorf("%+v", s)
			}
		}
		for _, k := range kinds {
			if seen[k.name] != 2 {
				t.Errorf("%s: %d times in two rounds", k.name, seen[k.name])
			}
		}
		if seconds == 0 {
			t.Error("never two troubles at once")
		}
	}
}

func TestTroublesHaveTheirEnds(t *testing.T) {
	for _, k := range troubles("localhost:1") {
		switch {
		case (k.signal == nil) == (len(k.on) == 0):
			t.Errorf("%s: wants orders, or a signal", k.name)
		case k.instant() != (len(k.off) == 0) && k.signal == nil:
			t.Errorf("%s: what lasts needs an end, what does not has none", k.name)
		case k.least > k.most:
			t.Errorf("%s: lasts %s to %s", k.name, k.least, k.most)
		}
	}
}
