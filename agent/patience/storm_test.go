package patience_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"iotagent/agent/patience"
	"iotagent/internal/golden"
	"iotagent/iothub"
)

var update = golden.Update() //nolint:gochecknoglobals // a flag

const (
	fleet    = 10_000
	capacity = 100 // connects a second that the hub admits: its smallest paid tier
	// The caps of the two classes of error that a storm is made of.
	networkCap   = 30 * time.Second
	throttledCap = time.Minute
	// How long a connect takes: answered, refused, and where nobody answers at all.
	answered = 200 * time.Millisecond
	refused  = 50 * time.Millisecond
	silent   = 20 * time.Second
)

// storm is a discrete-event simulation of a fleet whose hub goes away at leaves and is back at returns. Time is a number in it.
type storm struct {
	leaves, returns time.Duration
	rand            *rand.Rand
	agents          [fleet]agent
	lost, busy      *iothub.Error
	queue           queue
	room            float64 // the hub's token bucket
	filled          time.Duration

	attempts, admitted []int // by second
	worst              struct{ network, throttled time.Duration }
}

// agent is one of the fleet; its waits are the agent's own code.
type agent struct {
	patience *patience.Patience
	silent   bool // where it stands, a dead hub is a silent one
	tries    int  // since the hub went
	first    time.Duration
	back     time.Duration
}

// event is the moment at which an agent connects or, with err, hears that it could not.
type event struct {
	at    time.Duration
	agent int
	err   *iothub.Error
}

// newStorm returns a fleet of which the nth part hears nothing at all from a dead hub; 0 for none.
func newStorm(leaves, returns time.Duration, nth int) *storm {
	s := &storm{
		leaves: leaves, returns: returns, rand: rand.New(rand.NewPCG(1, 2)),
		lost: &iothub.Error{Op: "dial", Class: iothub.ClassNetwork}, busy: &iothub.Error{Op: "put-token", Class: iothub.ClassThrottled},
	}
	for i := range s.agents {
		s.agents[i] = agent{patience: patience.New(s.rand), silent: nth > 0 && i%nth == 0}
	}
	return s
}

// run loses every connection at once and goes on until all are back.
func (s *storm) run() {
	for i := range s.agents {
		s.retry(event{s.leaves, i, s.lost}, time.Hour, true)
	}
	for {
		e, ok := s.queue.pop()
		switch {
		case !ok:
			return
		case e.err != nil:
			s.retry(e, 0, false)
		default:
			s.attempt(e)
		}
	}
}

// retry has an agent wait, as long as its patience says.
func (s *storm) retry(e event, lived time.Duration, worked bool) {
	wait := s.agents[e.agent].patience.Next(e.err, lived, worked)
	worst := &s.worst.network
	if e.err.Class == iothub.ClassThrottled {
		worst = &s.worst.throttled
	}
	*worst = max(*worst, wait)
	s.queue.push(event{at: e.at + wait, agent: e.agent})
}

func (s *storm) attempt(e event) {
	a := &s.agents[e.agent]
	a.tries++
	count(&s.attempts, e.at)
	away := e.at < s.returns
	if !away && a.first == 0 {
		a.first = e.at
	}
	switch {
	case away && a.silent:
		s.queue.push(event{e.at + silent, e.agent, s.lost})
	case away:
		s.queue.push(event{e.at + refused, e.agent, s.lost})
	case !s.admit(e.at):
		s.queue.push(event{e.at + answered, e.agent, s.busy})
	default:
		count(&s.admitted, e.at)
		a.back = e.at
	}
}

// admit is the hub's throttle: as many a second as it has room for, and a second's worth at once.
func (s *storm) admit(now time.Duration) bool {
	s.room = min(capacity, s.room+float64(now-max(s.filled, s.returns))/float64(time.Second)*capacity)
	s.filled = now
	if s.room < 1 {
		return false
	}
	s.room--
	return true
}

func count(seconds *[]int, at time.Duration) {
	n := int(at / time.Second)
	for len(*seconds) <= n {
		*seconds = append(*seconds, 0)
	}
	(*seconds)[n]++
}

// in returns how many there are from one second to another.
func in(seconds []int, from, to time.Duration) int {
	n := 0
	for i := int(from / time.Second); i < min(int(to/time.Second), len(seconds)); i++ {
		n += seconds[i]
	}
	return n
}

// peak returns the most in one second from then on.
func peak(seconds []int, from time.Duration) int {
	most := 0
	for i := int(from / time.Second); i < len(seconds); i++ {
		most = max(most, seconds[i])
	}
	return most
}

// falls checks that the attempts fall from each ten seconds to the next, but for what chance does to such numbers.
func (s *storm) falls(t *testing.T, from time.Duration) {
	t.Helper()
	const step = 10 * time.Second
	for at := from; int(at/time.Second) < len(s.attempts); at += step {
		now, next := in(s.attempts, at, at+step), in(s.attempts, at+step, at+2*step)
		if next > now+now/10+50 {
			t.Errorf("second peak: %d attempts in the ten seconds from %v, then %d", now, at, next)
		}
	}
}

// home checks what holds after every storm, and returns when the last one was back.
func (s *storm) home(t *testing.T) time.Duration {
	t.Helper()
	var last, first time.Duration
	for i := range s.agents {
		a := &s.agents[i]
		if a.back == 0 {
			t.Fatalf("agent %d is not back", i)
		}
		last, first = max(last, a.back), max(first, a.first)
	}
	if s.worst.network > networkCap || s.worst.throttled > throttledCap {
		t.Errorf("an agent waited %v after the network's errors, %v after the hub's; the caps are %v and %v",
			s.worst.network, s.worst.throttled, networkCap, throttledCap)
	}
	// Everybody knocks within one cap of the network's, and an attempt under way when the hub came back.
	if took := first - s.returns; took > networkCap+silent {
		t.Errorf("the last first attempt came %v after the hub", took)
	}
	// The hub admits so many a second; beyond that, nobody waits for more than one cap.
	if took := last - s.returns; took > fleet/capacity*time.Second+throttledCap {
		t.Errorf("the last one is back after %v", took)
	}
	return last - s.returns
}

// outage is a hub that is away for half an hour; every third agent stands where nobody answers meanwhile.
func outage() *storm {
	s := newStorm(time.Minute, 31*time.Minute, 3)
	s.run()
	return s
}

// restart is a hub that drops everybody at once and is back within a second.
func restart() *storm {
	s := newStorm(10*time.Second, 11*time.Second, 0)
	s.run()
	return s
}

func TestStormAfterAnOutage(t *testing.T) {
	s := outage()
	last := s.home(t)
	// Away: once the waits are at their cap, on average one attempt in half a cap, or as long as it takes beside that.
	if most := peak(s.attempts[:31*60], 3*time.Minute); most > fleet/int(networkCap/2/time.Second)*12/10 {
		t.Errorf("%d attempts in a second at a hub that is away", most)
	}
	for i := range s.agents {
		if n := s.agents[i].tries; n > 160 {
			t.Fatalf("agent %d tried %d times in half an hour", i, n)
		}
	}
	s.falls(t, s.returns)
	first := peak(s.attempts[:s.returns/time.Second+5], s.returns)
	if second := peak(s.attempts, s.returns+networkCap); second >= first*2/3 {
		t.Errorf("%d attempts in the first peak's busiest second, %d after it", first, second)
	}
	knocks := in(s.attempts, s.returns, time.Hour)
	t.Logf("away: %d attempts a second; back: %d in the busiest second, %d attempts for %d agents, the last after %v",
		in(s.attempts, 10*time.Minute, 11*time.Minute)/60, first, knocks, fleet, last.Round(time.Second))
	if knocks > 3*fleet {
		t.Errorf("%d attempts to admit %d agents", knocks, fleet)
	}
}

func TestStormAfterARestart(t *testing.T) {
	s := restart()
	last := s.home(t)
	first := peak(s.attempts, 0)
	if first > fleet/2 {
		t.Errorf("%d of %d come back in one second", first, fleet)
	}
	// Those whom the hub could not admit then spread over a minute: never more than three times what it has room for.
	second := peak(s.attempts, s.returns+networkCap/3)
	if second > 3*capacity {
		t.Errorf("%d attempts in the first peak's busiest second, %d after it", first, second)
	}
	s.falls(t, s.returns+throttledCap)
	knocks := in(s.attempts, s.returns, time.Hour)
	t.Logf("%d in the busiest second, %d after that, %d attempts for %d agents, the last after %v", first, second, knocks, fleet, last.Round(time.Second))
	if knocks > 4*fleet {
		t.Errorf("%d attempts to admit %d agents", knocks, fleet)
	}
}

// queue is a heap of events by their time.
type queue []event

func (q *queue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].at <= h[i].at {
			return
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
}

func (q *queue) pop() (event, bool) {
	h := *q
	if len(h) == 0 {
		return event{}, false
	}
	top := h[0]
	h[0] = h[len(h)-1]
	h = h[:len(h)-1]
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].at < h[down].at {
			down++
		}
		if h[i].at <= h[down].at {
			break
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
	*q = h
	return top, true
}
