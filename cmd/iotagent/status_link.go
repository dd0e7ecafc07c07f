package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"iotagent/agent"
	"iotagent/iothub"
)

// printLink shows the link and its parts: what is wrong, since when, what is tried next and when, and what a person can do.
func printLink(w io.Writer, s *agent.Status) {
	fmt.Fprintf(w, "link\t%s\t%s\n", s.Link.State, linkText(s))
	for i := range s.Link.Parts {
		p := &s.Link.Parts[i]
		fmt.Fprintf(w, "  %s\t%s\t%s\n", p.Title(), p.Phase, partText(s, p))
		printHint(w, p.Hint)
	}
	if len(s.Link.Parts) == 0 {
		printHint(w, s.Link.Hint)
	}
	if t := s.Link.DisplacedAt; t != nil && s.Time.Sub(*t) < 24*time.Hour {
		fmt.Fprintf(w, "identity\tSHARED\tanother client connected as this device, %d times since the start, last %s ago: %s\n",
			s.Link.Displaced, age(s.Time, *t), "stop it or give it an identity of its own")
	}
	if s.Stuck != "" {
		fmt.Fprintf(w, "loops\tstuck\t%s\n", s.Stuck)
	}
	printClock(w, s)
}

func printHint(w io.Writer, hint string) {
	if hint != "" {
		fmt.Fprintf(w, "\t\thint: %s\n", hint)
	}
}

func linkText(s *agent.Status) string {
	l := &s.Link
	var parts []string
	if !l.Since.IsZero() {
		parts = append(parts, "for "+age(s.Time, l.Since))
	}
	if l.Host != "" {
		parts = append(parts, "host "+l.Host)
	}
	if l.Via != "" {
		parts = append(parts, "via "+l.Via)
	}
	if l.KeyInUse != "" {
		parts = append(parts, "with the "+l.KeyInUse+" key")
	}
	if len(l.Parts) == 0 && l.Error != "" {
		parts = append(parts, l.Error)
	}
	if l.Losses > 0 {
		parts = append(parts, fmt.Sprintf("connections lost since the start: %d", l.Losses))
	}
	return strings.Join(parts, ", ")
}

func partText(s *agent.Status, p *agent.PartStatus) string {
	if p.Phase == string(iothub.Unused) {
		return "not needed"
	}
	parts := []string{"for " + age(s.Time, p.Since)}
	connection := p.Part == iothub.Connection.String()
	switch {
	case p.Fine() && p.Proof != nil:
		parts = append(parts, "last proof "+age(s.Time, *p.Proof)+" ago")
	case p.Fine():
	case p.Cause != "":
		parts = append(parts, p.Cause)
	case !connection && !s.Link.Parts[0].Fine():
		parts = append(parts, "waits for the connection")
	}
	if t := s.Link.TokenExpires; t != nil && p.Part == iothub.Token.String() && p.Fine() {
		parts = append(parts, "expires in "+age(*t, s.Time))
	}
	if t := p.NextAttempt; t != nil && !p.Fine() {
		parts = append(parts, "next attempt in "+age(*t, s.Time))
	}
	if t := p.Deadline; t != nil && p.Phase == string(iothub.Doubtful) {
		parts = append(parts, "given up in "+age(*t, s.Time))
	}
	if p.Losses > 0 && !connection {
		parts = append(parts, fmt.Sprintf("losses since the start: %d", p.Losses))
	}
	return strings.Join(parts, ", ")
}

// printSent shows what went to the hub, and what that costs there.
func printSent(w io.Writer, s *agent.Status) {
	l, m := &s.Link, &s.Metering
	if l.State == "stopped" {
		return
	}
	text := fmt.Sprintf("accepted by the hub, %d sent again", l.Resent)
	if r := l.Uplink.RatePerSecond; r > 0 {
		text += fmt.Sprintf(", slowed down to %.3g messages a second", r)
	}
	if t := l.PausedUntil; t != nil {
		text += ", sending pauses for " + age(*t, s.Time)
	}
	fmt.Fprintf(w, "sent\t%d messages\t%s\n", l.Sent, text)
	if l.PausedUntil != nil && l.Uplink.Pause != "" {
		printHint(w, agent.Hint(&iothub.Error{Class: iothub.Class(l.Uplink.Pause)}))
	}
	when, least := "today, UTC", ""
	if m.SinceStart {
		when = "since the start"
	}
	if m.AtLeast {
		least = "at least "
	}
	fmt.Fprintf(w, "metered\t%s\t%s%d messages of 4 KiB, %.0f%% full\n", when, least, m.Metered, 100*m.Fill())
	fmt.Fprintf(w, "on the wire\tsince the start\t%s read, %s written\n", size(int64(l.ReadBytes)), size(int64(l.WrittenBytes)))
}
