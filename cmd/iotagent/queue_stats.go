package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"iotagent/agent"
	"iotagent/internal/cli"
)

type queueStats struct {
	JSON bool `help:"Print JSON."`
}

// queueCounts is the outbox's part of a status. docs/formats.md shows its JSON.
type queueCounts struct {
	Running bool      `json:"running"`
	Time    time.Time `json:"time"`
	agent.OutboxStatus
}

// Run prints the counts of the outbox.
func (c *queueStats) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		return err
	}
	s, err := askStatus(ctx, f.Agent.StateDir)
	if err != nil {
		return err
	}
	counts := &queueCounts{Running: s.Link.State != "stopped", Time: s.Time, OutboxStatus: s.Outbox}
	if c.JSON {
		return printObject(std.Out, counts)
	}
	return counts.print(std.Out)
}

// printObject prints one indented JSON object.
func printObject(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (q *queueCounts) print(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var messages, bytes uint64
	for _, l := range q.Lanes {
		messages, bytes = messages+l.Queued, bytes+l.Bytes
		fmt.Fprintf(tab, "%s\t%d messages\t%s\t%s\n", l.Lane, l.Queued, size(int64(l.Bytes)), q.laneText(&l))
	}
	fmt.Fprintf(tab, "together\t%d messages\t%s\t%d in flight\n", messages, size(int64(bytes)), q.InFlight)
	if err := tab.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(tab, "dead letters\t%s\n", deadText(q.Dead))
	fmt.Fprintf(tab, "disk\t%s\n", q.diskText())
	if q.Running {
		fmt.Fprintf(tab, "written\t%s in %d commits since the start%s\n", size(int64(q.WrittenBytes)), q.Commits, q.todayText())
	}
	switch {
	case q.Degraded != "":
		fmt.Fprintf(tab, "FAILING\t%s; %d messages are in memory only\n", q.Degraded, q.RAMOnly)
	case q.RAMOnly > 0:
		fmt.Fprintf(tab, "memory\t%d messages are not on disk yet\n", q.RAMOnly)
	}
	for _, name := range q.SetAside {
		fmt.Fprintf(tab, "set aside\t%s, damaged\n", name)
	}
	return tab.Flush()
}

func (q *queueCounts) laneText(l *agent.LaneStatus) string {
	text := "empty"
	if l.Queued > 0 {
		text = "oldest of unknown age"
		if l.Oldest != nil {
			text = "oldest waits for " + age(q.Time, *l.Oldest)
		}
	}
	if l.Dropped > 0 {
		text += fmt.Sprintf(", %d dropped for want of room", l.Dropped)
	}
	return text
}

func (q *queueCounts) diskText() string {
	if q.QuotaBytes == 0 {
		return size(q.DiskBytes)
	}
	return fmt.Sprintf("%s of %s (%d %%)", size(q.DiskBytes), size(q.QuotaBytes), q.DiskBytes*100/q.QuotaBytes)
}

// todayText is empty when the start was today.
func (q *queueCounts) todayText() string {
	if q.SinceStart {
		return ""
	}
	return fmt.Sprintf(", %s in %d today", size(int64(q.WrittenTodayBytes)), q.WrittenTodayCommits)
}

func deadText(n uint64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d messages refused by the hub for good; iotagent queue list --dead shows why", n)
}
