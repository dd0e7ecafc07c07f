package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"iotagent/agent"
	"iotagent/internal/cli"
	"iotagent/internal/clock"
	"iotagent/internal/version"
	"iotagent/outbox"
)

type statusCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run asks the daemon, or the outbox when the daemon does not run. It reads no secrets.
func (c *statusCommand) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		return err
	}
	s, err := askStatus(ctx, f.Agent.StateDir)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(std.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	return printStatus(std.Out, s)
}

// askStatus asks the daemon, or looks into the outbox of one that does not run.
func askStatus(ctx context.Context, stateDir string) (s *agent.Status, err error) {
	err = untilFree(ctx, func() (err error) {
		s, err = askDaemon(ctx, stateDir)
		switch {
		case errors.Is(err, errNoDaemon):
			s, err = stoppedStatus(stateDir)
		case errors.Is(err, fs.ErrPermission):
			err = cli.Fail(cli.Failed, err, "run it with sudo, or as a member of the group iotagent")
		}
		return err
	})
	return s, err
}

// stoppedStatus is what the outbox of a daemon that does not run tells.
func stoppedStatus(stateDir string) (*agent.Status, error) {
	st, err := outbox.Inspect(filepath.Join(stateDir, "outbox"))
	switch {
	case errors.Is(err, outbox.ErrLocked):
		return nil, err
	case err != nil:
		return nil, cli.Fail(cli.Failed, fmt.Errorf("the daemon is not running, and its outbox: %w", err), "start it: systemctl start iotagent")
	}
	s := agent.StoppedStatus(version.String(), clock.Open(clock.OpenAnchors(clock.Path(stateDir))), st)
	return &s, nil
}

// askDaemon returns the running daemon's status; its error wraps errNoDaemon when there is none.
func askDaemon(ctx context.Context, stateDir string) (*agent.Status, error) {
	conn, err := dialControl(ctx, stateDir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // it has answered
	a, err := agent.Ask(ctx, conn, agent.Request{Op: "status"})
	if err != nil {
		return nil, err
	}
	return a.Status, nil
}

func printStatus(w io.Writer, s *agent.Status) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	printLink(tab, s)
	printSent(tab, s)
	printOutbox(tab, s)
	for _, x := range s.Sensors {
		state := x.Quality
		if state == "" {
			state = "no reading yet"
		}
		fmt.Fprintf(tab, "sensor %s\t%s\t%s\n", x.Name, state, sensorText(s.Time, x))
		if x.Warning != "" {
			fmt.Fprintf(tab, "\twarning\t%s\n", x.Warning)
		}
	}
	for _, x := range s.Commands {
		fmt.Fprintf(tab, "command %s\t%s\t%s\n", x.Name, x.Type, commandText(x))
	}
	return tab.Flush()
}

func printOutbox(w io.Writer, s *agent.Status) {
	var queued uint64
	var oldest time.Time
	for _, l := range s.Outbox.Lanes {
		queued += l.Queued
		if t := l.Oldest; t != nil && l.Queued > 0 && (oldest.IsZero() || t.Before(oldest)) {
			oldest = *t
		}
	}
	text := size(s.Outbox.DiskBytes) + " on disk"
	if s.Outbox.QuotaBytes > 0 {
		text = fmt.Sprintf("%s of %s on disk", size(s.Outbox.DiskBytes), size(s.Outbox.QuotaBytes))
	}
	if !oldest.IsZero() {
		text += ", oldest waits for " + age(s.Time, oldest)
	}
	fmt.Fprintf(w, "outbox\t%d messages\t%s\n", queued, text)
	for _, l := range s.Outbox.Lanes {
		if l.Queued > 0 || l.Dropped > 0 {
			fmt.Fprintf(w, "  %s\t%d messages\t%d dropped for want of room\n", l.Lane, l.Queued, l.Dropped)
		}
	}
	if s.Link.State != "stopped" {
		when := "today"
		if s.Outbox.SinceStart {
			when = "since the start"
		}
		fmt.Fprintf(w, "written\t%s\t%s in %d commits\n", when, size(int64(s.Outbox.WrittenTodayBytes)), s.Outbox.WrittenTodayCommits)
	}
	if s.Outbox.Dead > 0 {
		fmt.Fprintf(w, "dead letters\t%d messages\trefused by the hub for good\n", s.Outbox.Dead)
	}
	if s.Outbox.Degraded != "" {
		fmt.Fprintf(w, "disk\tFAILING\t%s; %d messages are in memory only\n", s.Outbox.Degraded, s.Outbox.RAMOnly)
	}
	for _, f := range s.Outbox.SetAside {
		fmt.Fprintf(w, "damaged\tset aside\t%s\n", f)
	}
	if s.Readings.ReadingsLost > 0 {
		fmt.Fprintf(w, "readings\tLOST\t%d since the start: neither disk nor memory had room\n", s.Readings.ReadingsLost)
	}
}

func sensorText(now time.Time, x agent.SensorState) string {
	var parts []string
	names := make([]string, 0, len(x.Values))
	for name := range x.Values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), 3)] {
		parts = append(parts, name+"="+number(x.Values[name]))
	}
	if n := len(names); n > 3 {
		parts = append(parts, fmt.Sprintf("and %d more", n-3))
	}
	if x.Reason != "" {
		parts = append(parts, x.Reason)
	}
	if x.Time != nil {
		parts = append(parts, age(now, *x.Time)+" ago")
	}
	counts := fmt.Sprintf("%d readings, %d failed", x.Readings, x.Errors)
	for _, n := range []struct {
		count uint64
		what  string
	}{{x.Retries, "retries"}, {x.Alarms, "alarms"}, {x.Withheld, "left out by the deadband"}} {
		if n.count > 0 {
			counts += fmt.Sprintf(", %d %s", n.count, n.what)
		}
	}
	return strings.Join(parts, "  ") + "  (" + counts + ")"
}

// number shows six digits, and large numbers whole.
func number(v float64) string {
	if math.Abs(v) >= 1e6 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// age returns how long before now t was, for a person.
func age(now, t time.Time) string { return max(now.Sub(t), 0).Round(time.Second).String() }

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

func commandText(x agent.Command) string {
	var parts []string
	if x.Level != "" {
		parts = append(parts, "level="+x.Level)
	}
	if x.Running != nil {
		parts = append(parts, "running since "+x.Running.Since.Local().Format(time.TimeOnly))
	}
	if x.Stuck {
		parts = append(parts, "its last run does not end")
	}
	if x.Waiting > 0 {
		parts = append(parts, fmt.Sprintf("%d waiting", x.Waiting))
	}
	parts = append(parts, fmt.Sprintf("%d done, %d rejected", x.Done, x.Rejected))
	if x.Last != nil {
		parts = append(parts, fmt.Sprintf("last: %s %s", x.Last.Status, x.Last.Detail))
	}
	return strings.Join(parts, ", ")
}
