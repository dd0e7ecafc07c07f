package hubsim

import (
	"time"

	"iotagent/hubsim/amqpd"
)

// AckRule says what becomes of some telemetry deliveries. It counts the deliveries that it may concern from the moment it is set.
type AckRule struct {
	// Device is the only device or module ("DEVICE/MODULE") that the rule is for; "" all of them.
	Device string
	// Nth is the only delivery, counted from 1; Every is each so-manieth. Without either the rule is for all.
	Nth, Every int
	Verdict
}

type ackRule struct {
	AckRule
	seen int
}

// SetAckRules replaces the rules for telemetry; the first that fits a delivery counts. What OnTelemetry says goes first.
func (s *Server) SetAckRules(rules ...AckRule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.rules = nil
	s.addAckRulesLocked(rules)
}

// AddAckRule adds a rule behind the others.
func (s *Server) AddAckRule(rule AckRule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addAckRulesLocked([]AckRule{rule})
}

func (s *Server) addAckRulesLocked(rules []AckRule) {
	for _, r := range rules {
		s.faults.rules = append(s.faults.rules, ackRule{AckRule: r})
	}
}

func (s *Server) ruleVerdictLocked(device string) (found Verdict, ok bool) {
	for i := range s.faults.rules {
		r := &s.faults.rules[i]
		if r.Device != "" && r.Device != device {
			continue
		}
		r.seen++ // also behind the rule that counts
		fits := r.Nth == 0 && r.Every == 0 || r.Nth == r.seen || r.Every > 0 && r.seen%r.Every == 0
		if fits && !ok {
			found, ok = r.Verdict, true
		}
	}
	return found, ok
}

// Throttle is how the hub behaves over its quota: first it takes its time, then it refuses.
type Throttle struct {
	// Rate is how many telemetry deliveries a second are settled; default 10.
	Rate float64
	// Patience is how long a settlement waits for its turn; what would wait longer is rejected. Default 5 s, negative: nothing waits.
	Patience time.Duration
}

type throttle struct {
	Throttle
	turn time.Time // of the next delivery, on the timers' clock
}

// SetThrottle throttles telemetry from now on; nil ends it.
func (s *Server) SetThrottle(t *Throttle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.throttle = nil
	if t == nil {
		return
	}
	with := *t
	if with.Rate <= 0 {
		with.Rate = 10
	}
	setDefault(&with.Patience, 5*time.Second)
	s.faults.throttle = &throttle{Throttle: with, turn: time.Now()}
}

func (s *Server) throttleVerdictLocked() Verdict {
	t := s.faults.throttle
	if t == nil {
		return Verdict{}
	}
	now := time.Now()
	if t.turn.Before(now) {
		t.turn = now
	}
	wait := t.turn.Sub(now)
	if wait > max(t.Patience, 0) {
		return Verdict{Outcome: Reject, Condition: condThrottled, Description: describe(429001, "Throttling: the hub's quota of messages a second is used up.", s.opts.Now())}
	}
	t.turn = t.turn.Add(time.Duration(float64(time.Second) / t.Rate))
	return Verdict{Delay: wait}
}

// LoseSettlements makes the hub deaf to the next n settlements of commands: their locks bring them back.
func (s *Server) LoseSettlements(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.settlements = n
}

func (s *Server) settlementLostLocked(state amqpd.State) bool {
	if s.faults.settlements <= 0 || !state.Terminal() {
		return false
	}
	s.faults.settlements--
	return true
}
