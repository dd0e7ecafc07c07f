package agent

import (
	"time"

	"iotagent/internal/clock"
	"iotagent/internal/promtext"
)

// ClockStatus is how far the wall clock is believed, and why. docs/formats.md shows it.
type ClockStatus struct {
	// State is "synchronised" (the kernel says so), "confirmed" (the hub's time agrees), "restored" (not vouched for now, but times are known from before, or
	// from the hub), "unconfirmed" (it may be right) or "implausible" (it cannot be).
	State string `json:"state"`
	// Since is when the state began, like all times here by the wall clock of now, right or wrong.
	Since time.Time `json:"since"`
	// Anchor is the latest moment of this boot of which the true time is known, and that time.
	Anchor *ClockAnchor `json:"anchor,omitempty"`
	// Hub is what came of asking the hub last.
	Hub *ClockHub `json:"hub,omitempty"`
	// HubError says why it could not be asked last.
	HubError string `json:"hub_error,omitempty"`
	// Step is when the wall clock was set last, Steps how often since the start.
	Step  *ClockStep `json:"step,omitempty"`
	Steps uint64     `json:"steps"`
	// Hint is what a person can do.
	Hint string `json:"hint,omitempty"`
}

// ClockAnchor is a moment of which the true time is known.
type ClockAnchor struct {
	Time time.Time `json:"time"`
	// Source is "kernel" or "hub".
	Source string `json:"source"`
	// WithinSeconds is how far a time of now may be off that is told by it.
	WithinSeconds float64 `json:"within_seconds"`
}

// ClockHub is the wall clock beside the hub's.
type ClockHub struct {
	Asked time.Time `json:"asked"`
	// AheadSeconds is by how much the wall clock was ahead, give or take WithinSeconds.
	AheadSeconds  float64 `json:"ahead_seconds"`
	WithinSeconds float64 `json:"within_seconds"`
}

// ClockStep is a time at which somebody set the clock.
type ClockStep struct {
	Time      time.Time `json:"time"`
	BySeconds float64   `json:"by_seconds"`
}

func clockStatus(s *clock.Status) ClockStatus {
	at := func(mono time.Duration) time.Time { return s.Wall.Add(mono - s.Mono).Truncate(time.Millisecond) }
	c := ClockStatus{State: string(s.State), Since: at(s.Since), Steps: s.Steps, Hint: ClockHint(s.State)}
	if a := s.Fix; a != nil {
		c.Anchor = &ClockAnchor{Time: a.Wall.Truncate(time.Millisecond), Source: string(a.Source), WithinSeconds: seconds(a.Within(s.Mono))}
	}
	if s.Asked != nil {
		c.Hub = &ClockHub{Asked: at(*s.Asked), AheadSeconds: seconds(s.Ahead), WithinSeconds: seconds(s.Within)}
	}
	if s.Step != nil {
		c.Step = &ClockStep{Time: at(s.Step.Mono), BySeconds: seconds(s.Step.By)}
	}
	return c
}

// seconds are rounded to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

func (k *timekeeper) status() ClockStatus {
	s := k.clock.Status()
	c := clockStatus(&s)
	if err := k.lastFailure(); err != nil {
		c.HubError = err.Error()
	}
	return c
}

func clockMetrics(w *promtext.Writer, s *ClockStatus) {
	w.Gauge("iotagent_clock_state", "1 for the state that the clock is in.")
	for _, state := range []clock.State{clock.Synchronised, clock.Confirmed, clock.Restored, clock.Uncertain, clock.Implausible} {
		w.Bool(s.State == string(state), "state", string(state))
	}
	w.Counter("iotagent_clock_steps_total", "How often somebody set the wall clock.")
	w.Value(float64(s.Steps))
	if s.Hub != nil {
		w.Gauge("iotagent_clock_ahead_of_hub_seconds", "By how much the wall clock was ahead of the hub's when that was asked last.")
		w.Value(s.Hub.AheadSeconds)
	}
}
