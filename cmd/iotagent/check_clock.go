package main

import (
	"context"
	"fmt"
	"time"

	"iotagent/agent"
	"iotagent/config"
	"iotagent/internal/clock"
)

// probeClock says who vouches for this machine's clock: the kernel or, asked for it, the hub. A clock for which nobody does is worth a warning.
func probeClock(ctx context.Context, f *config.File, result *checked) {
	c := clock.New(nil)
	s := c.Status()
	if s.State != clock.Synchronised {
		s = askForTime(ctx, f, c)
	}
	result.Clock = string(s.State)
	warn := ""
	switch {
	case s.Trusted:
		return
	case s.Asked != nil:
		warn = fmt.Sprintf("this machine's clock is %v off the hub's", s.Ahead.Abs().Round(time.Millisecond))
	case s.Plausible():
		warn = "nobody vouches for this machine's clock: readings say \"clock\":\"unconfirmed\""
	default:
		warn = fmt.Sprintf("this machine's clock says %s, which cannot be", s.Wall.Format(time.RFC3339))
	}
	result.Warnings = append(result.Warnings, warn+": "+agent.ClockHint(s.State))
}

// askForTime compares the clock with the hub's, as far as that answers.
func askForTime(ctx context.Context, f *config.File, c *clock.Clock) clock.Status {
	if link, err := dialer(f, true, nil); err == nil { // what is wrong with the secrets is said elsewhere
		if at, within, err := link.time(ctx); err == nil {
			c.Compare(at, within)
		}
	}
	return c.Status()
}
