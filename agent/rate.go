package agent

import "time"

const (
	// leastRate in messages a second is kept up however often the hub asks for fewer; from freeRate on there is no limit any more.
	leastRate = 1
	freeRate  = 10_000
	// leastStep is by how many messages a second the rate grows each second, at least.
	leastStep = 0.5
	// burst is how much unused time counts.
	burst = time.Second
)

// rate limits the messages a second after the hub asked for fewer: half of what it accepted lately, then slowly more up to the rate that was too much, beyond
// it faster and faster until there is no limit.
type rate struct {
	// limit in messages a second; 0 is none. bad is the rate that was too much.
	limit, bad float64
	// tokens may be sent now; a batch may leave a debt. at is when they were counted.
	tokens float64
	at     time.Time
	// grown is when the limit grew last.
	grown time.Time

	// accepted messages were counted since; before is the rate of the time before that.
	accepted float64
	since    time.Time
	before   float64
}

// wait returns how long to wait before the next transfer.
func (r *rate) wait(now time.Time) time.Duration {
	if r.limit == 0 {
		return 0
	}
	if now.Before(r.at) {
		return r.at.Sub(now)
	}
	r.tokens = min(r.tokens+r.limit*now.Sub(r.at).Seconds(), max(r.limit*burst.Seconds(), 1))
	r.at = now
	if r.tokens >= 1 {
		return 0
	}
	return time.Duration((1-r.tokens)/r.limit*float64(time.Second)) + time.Millisecond
}

// spend counts what is sent.
func (r *rate) spend(messages int) {
	if r.limit > 0 {
		r.tokens -= float64(messages)
	}
}

// portion is how many messages a batch may hold: a second's.
func (r *rate) portion() int {
	if r.limit == 0 || r.limit > 1e6 {
		return 1e6
	}
	return max(int(r.limit), 1)
}

// count notes accepted messages and lets the limit grow.
func (r *rate) count(now time.Time, messages int) {
	if now.Before(r.since) { // of before the pause
		return
	}
	if now.Sub(r.since) > 4*time.Second {
		r.before = r.accepted / max(now.Sub(r.since).Seconds(), 1)
		r.accepted, r.since = 0, now
	}
	r.accepted += float64(messages)
	if r.limit > 0 {
		r.grow(now)
	}
}

func (r *rate) grow(now time.Time) {
	dt := min(now.Sub(r.grown), time.Second).Seconds() // nothing is learned while nothing is sent
	r.grown = now
	step := max(r.bad/60, leastStep)
	if r.limit > r.bad {
		step = max(r.limit/4, step)
	}
	if r.limit += step * dt; r.limit >= max(freeRate, 1.25*r.bad) {
		r.limit = 0
	}
}

// cut halves the rate; sending goes on at resume.
func (r *rate) cut(now, resume time.Time) {
	lately := r.before
	if span := now.Sub(r.since).Seconds(); span >= 1 || r.accepted > lately {
		lately = r.accepted / max(span, 1)
	}
	if r.limit > 0 {
		lately = min(lately, r.limit)
	}
	r.bad = max(lately, 2*leastRate)
	r.limit = r.bad / 2
	r.tokens, r.at, r.grown = 0, resume, resume
	r.accepted, r.since, r.before = 0, resume, 0
}
