package hubsim

import (
	"cmp"
	"fmt"
	"slices"

	"iotagent/internal/simctl"
)

func (s *Server) controlStatus() *simctl.Status {
	links := s.allLinks()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &simctl.Status{
		Hub: s.opts.Hostname, Connections: len(s.conns), Events: int(s.accepted), Devices: []simctl.Device{}, Faults: s.faultWords(),
		Feedback: len(s.feedback.pending) + len(s.feedback.queue.items), ClockOffset: s.ClockOffset().String(),
	}
	for key, d := range s.devices {
		one := simctl.Device{ID: key, Disabled: d.disabled, Commands: len(d.commands.items), Links: links[key], Metered: d.metered.today(s.opts.Now()).units}
		if one.Links == nil {
			one.Links = []string{}
		}
		st.Devices = append(st.Devices, one)
	}
	slices.SortFunc(st.Devices, func(a, b simctl.Device) int { return cmp.Compare(a.ID, b.ID) })
	return st
}

// allLinks returns the addresses of every identity's links as the clients spelled them, sorted.
func (s *Server) allLinks() map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]string{}
	for c := range s.conns {
		for l := range c.links {
			if key := l.addr.identity(); l.addr.device != "" {
				all[key] = append(all[key], l.wire.Address())
			}
		}
	}
	for _, list := range all {
		slices.Sort(list)
	}
	return all
}

// faultWords says which faults are on.
func (s *Server) faultWords() []string {
	f := &s.faults
	words := []string{}
	say := func(on bool, format string, args ...any) {
		if on {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	say(f.refuse, "new connections are refused")
	say(s.currentHole() != HoleNone, "black hole: %s", holeNames()[s.currentHole()])
	say(s.readRate.Load() > 0, "reads %d bytes a second", s.readRate.Load())
	say(f.telemetryCredit != telemetryCredit, "telemetry credit %d", f.telemetryCredit)
	say(f.window >= 0, "session window %d", f.window)
	for _, r := range f.rules {
		words = append(words, r.words())
	}
	say(f.settlements > 0, "the next %d settlements of commands are lost", f.settlements)
	say(f.token != nil, "put-token requests fail")
	for at, fault := range f.attach {
		words = append(words, fmt.Sprintf("the next link to %s gets %s", at.words(), fault.words()))
	}
	for at := range f.deaf {
		words = append(words, "deaf: "+at.words())
	}
	say(f.open != nil, "the next connection is redirected")
	if t := f.throttle; t != nil {
		words = append(words, fmt.Sprintf("telemetry is throttled to %g a second, after %v rejected", t.Rate, t.Patience))
	}
	say(f.idleMin != 0, "idle timeouts below %v are refused", f.idleMin)
	say(f.muteEcho, "echoes are not answered")
	say(f.settleLate, "settlements go out after the end of their link")
	say(f.omitID, "new connections get no next-incoming-id")
	return words
}

func (r *ackRule) words() string {
	which := "every delivery"
	switch {
	case r.Nth > 0:
		which = fmt.Sprintf("delivery %d (%d so far)", r.Nth, r.seen)
	case r.Every > 0:
		which = fmt.Sprintf("one delivery in %d", r.Every)
	}
	if r.Device != "" {
		which += " of " + r.Device
	}
	what := []string{"accepted", "stored and never acknowledged", "released", "rejected", "modified"}[r.Outcome]
	if r.Delay > 0 {
		what += fmt.Sprintf(" after %v", r.Delay)
	}
	return which + " is " + what
}

func (f attachFault) words() string {
	what := "nothing"
	if f.err != nil {
		what = string(f.err.Condition)
	}
	if f.after {
		what += " once it is attached"
	}
	return what
}

func (p faultPlace) words() string {
	switch {
	case p == faultPlace{}:
		return "every link but those to $cbs"
	case p.text != "":
		return p.text
	case p.device != "" && p.node == nodeCommands:
		return "the commands of " + p.identity()
	case p.device != "" && p.node == nodeTelemetry:
		return "the telemetry of " + p.identity()
	case p.device != "":
		return p.identity()
	case p.tail != "":
		return p.tail
	}
	return "a node of the hub"
}
