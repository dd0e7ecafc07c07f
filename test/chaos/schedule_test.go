package chaos

import (
	"iter"
	"math/rand/v2"
	"slices"
	"time"
)

// step is one trouble of a run.
type step struct {
	*trouble
	nth int
	// hold is how long it lasts, pause how long nothing happens after it has healed.
	hold, pause time.Duration
	// second happens in the midst of it; nil for most.
	second *trouble
}

// schedule yields the troubles of a run for ever: every kind once, in an order drawn from the seed, then every kind again in another order.
// The same seed and kinds give the same schedule.
func schedule(seed uint64, kinds []trouble) iter.Seq[step] {
	var sudden []*trouble
	for i := range kinds {
		if k := &kinds[i]; k.instant() && !k.slow {
			sudden = append(sudden, k)
		}
	}
	return func(yield func(step) bool) {
		rng := rand.New(rand.NewPCG(seed, 0x5eed))
		for n := 1; ; {
			for _, i := range rng.Perm(len(kinds)) {
				s := step{trouble: &kinds[i], nth: n, pause: between(rng, time.Second, 4*time.Second)}
				if !s.instant() {
					s.hold = between(rng, s.least, s.most)
				}
				if len(sudden) > 0 && rng.IntN(4) == 0 {
					if second := sudden[rng.IntN(len(sudden))]; s.canHave(second) {
						s.second = second
					}
				}
				if !yield(s) {
					return
				}
				n++
			}
		}
	}
}

// canHave reports whether another trouble may come on top: not while a process that it would need is stopped.
func (k *trouble) canHave(second *trouble) bool {
	return !k.instant() && k.signal == nil && !second.slow
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)+1)).Round(time.Millisecond)
}

// fit returns the kinds that a run has time for.
func fit(kinds []trouble, long bool) []trouble {
	return slices.DeleteFunc(kinds, func(k trouble) bool { return k.slow && !long })
}

// name says what happens.
func (s *step) title() string {
	if s.second == nil {
		return s.name
	}
	return s.name + ", and in its midst " + s.second.name
}
