package agent

import (
	"time"

	"iotagent/agent/patience"
	"iotagent/internal/backoff"
	"iotagent/iothub"
)

// pace is when the sender rests because the hub gave messages back. Alarms rest for their own refusals only, and shorter; a used-up quota stops them too.
type pace struct {
	rests [2]rest // of alarms, of everything else
}

// rest is one pause after the other.
type rest struct {
	// from is when the last pause began, until when it ends, class what it is for.
	from, until time.Time
	class       iothub.Class
	series      map[iothub.Class]*backoff.Backoff
}

// pauses are shorter than the waits between connections where the hub only gave messages back without a complaint, and for alarms.
func pauses(class iothub.Class, alarm bool) backoff.Backoff {
	switch {
	case class == iothub.ClassNetwork:
		return backoff.Backoff{Floor: 50 * time.Millisecond, Cap: 10 * time.Second}
	case class == iothub.ClassQuota:
		return patience.Rule(class)
	case alarm:
		return backoff.Backoff{Floor: time.Second, Cap: 30 * time.Second}
	case class == iothub.ClassServer, class == iothub.ClassUnknown:
		return backoff.Backoff{Floor: time.Second, Cap: time.Minute}
	case class == iothub.ClassThrottled: // the rate makes sure that not all come again at once
		return backoff.Backoff{Floor: 10 * time.Second, Cap: time.Minute}
	}
	return patience.Rule(class)
}

// of returns the rest of alarms or of everything else.
func (p *pace) of(alarm bool) *rest {
	if alarm {
		return &p.rests[0]
	}
	return &p.rests[1]
}

// refused begins a pause after an error of that class about what was sent at that time. What was in flight when a pause began says nothing new: fresh is
// false then.
func (p *pace) refused(now, sent time.Time, class iothub.Class, alarm bool) (until time.Time, fresh bool) {
	until, fresh = p.of(false).begin(now, sent, class, pauses(class, false))
	switch {
	case class == iothub.ClassQuota && fresh: // together
		r := p.of(true)
		r.from, r.until, r.class = now, until, class
	case alarm:
		p.of(true).begin(now, sent, class, pauses(class, true))
	}
	return until, fresh
}

func (r *rest) begin(now, sent time.Time, class iothub.Class, first backoff.Backoff) (until time.Time, fresh bool) {
	if now.Before(r.until) || sent.Before(r.from) {
		return r.until, false
	}
	if r.series == nil {
		r.series = map[iothub.Class]*backoff.Backoff{}
	}
	b := r.series[class]
	if b == nil {
		b = &first
		r.series[class] = b
	}
	r.from, r.until, r.class = now, now.Add(b.Next()), class
	return r.until, true
}

// wait returns how long the pause lasts.
func (p *pace) wait(now time.Time, alarm bool) time.Duration {
	return max(p.of(alarm).until.Sub(now), 0)
}

// accepted says that the hub takes messages again.
func (p *pace) accepted(now time.Time) {
	for i := range p.rests {
		if r := &p.rests[i]; len(r.series) > 0 && !now.Before(r.until) {
			clear(r.series)
		}
	}
}
