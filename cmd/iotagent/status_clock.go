package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"iotagent/agent"
	"iotagent/internal/clock"
)

// printClock says how far the wall clock is believed, and what becomes of the times of readings.
func printClock(w io.Writer, s *agent.Status) {
	c := &s.Clock
	if c.State == "" { // a daemon from before there was anything to say
		return
	}
	parts := []string{}
	if !c.Since.IsZero() && s.Link.State != "stopped" {
		parts = append(parts, "for "+age(s.Time, c.Since))
	}
	parts = append(parts, clockText(s))
	if h := c.Hub; h != nil {
		parts = append(parts, fmt.Sprintf("%s when the hub was asked %s ago", aheadText(h), age(s.Time, h.Asked)))
	}
	if c.HubError != "" && !s.ClockTrusted {
		parts = append(parts, "the hub could not be asked: "+strings.TrimPrefix(c.HubError, "hub's time: "))
	}
	if x := c.Step; x != nil {
		parts = append(parts, fmt.Sprintf("set %s ago, by %v", age(s.Time, x.Time), seconds(x.BySeconds)))
	}
	fmt.Fprintf(w, "clock\t%s\t%s\n", c.State, strings.Join(parts, ", "))
	printHint(w, c.Hint)
}

func clockText(s *agent.Status) string {
	now := s.Time.UTC().Format(time.RFC3339)
	switch clock.State(s.Clock.State) {
	case clock.Synchronised:
		return "the kernel says so"
	case clock.Confirmed:
		return "the hub's time agrees"
	case clock.Restored:
		return "nobody vouches for it now; " + restoredText(s)
	case clock.Uncertain:
		return "nobody vouches for it; it says " + now
	case clock.Implausible:
		if s.Clock.Anchor != nil {
			return now + " cannot be right; " + restoredText(s)
		}
		return now + " cannot be right; readings get their time when it is set"
	}
	return ""
}

func restoredText(s *agent.Status) string {
	text := "the time of readings is known"
	if a := s.Clock.Anchor; a != nil {
		text += fmt.Sprintf(" from the %s, within %v", a.Source, seconds(a.WithinSeconds))
	}
	return text
}

func aheadText(h *agent.ClockHub) string {
	by, way := seconds(h.AheadSeconds), "ahead"
	if by < 0 {
		by, way = -by, "behind"
	}
	return fmt.Sprintf("%v %s (± %v)", by, way, seconds(h.WithinSeconds))
}
