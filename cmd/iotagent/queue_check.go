package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"

	"iotagent/agent"
	"iotagent/internal/cli"
)

// quiet is the level for commands that print what they find themselves.
const quiet = slog.LevelError + 1

type queueCheck struct {
	JSON bool `help:"Print JSON."`
}

// Run reads every page and record of every file; its error says that one is damaged.
func (c *queueCheck) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		return err
	}
	next := fmt.Sprintf("iotagent --config %s queue repair", path)
	return inspectFiles(ctx, std, queueAsker(f, logger(std, quiet)), agent.OpQueueCheck, c.JSON, next)
}

type queueRepair struct {
	JSON bool `help:"Print JSON."`
}

// Run replaces what is damaged; its error says that something still is.
func (c *queueRepair) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		return err
	}
	// Opening the outbox of a stopped daemon may find and mend damage by itself: the log says so.
	log := logger(std, slog.LevelWarn)
	next := "look for a failing disk: journalctl -k; what can be read now: iotagent queue export"
	return inspectFiles(ctx, std, queueAsker(f, log), agent.OpQueueRepair, c.JSON, next)
}

// inspectFiles checks or repairs, prints what was found, and fails with the hint when a file is still damaged.
func inspectFiles(ctx context.Context, std cli.IO, ask asker, op string, asJSON bool, hint string) error {
	var report *agent.QueueReport
	err := ask(ctx, agent.Request{Op: op}, func(a *agent.Answer) error { report = a.Report; return nil })
	switch {
	case err != nil:
		return err
	case report == nil:
		return errNoReport
	}
	if asJSON {
		err = printObject(std.Out, report)
	} else {
		err = printReport(std.Out, report)
	}
	if err != nil || report.Sound {
		return err
	}
	bad := 0
	for _, f := range report.Files {
		if f.Problem != "" && !f.Repaired {
			bad++
		}
	}
	return cli.Fail(cli.Failed, fmt.Errorf("%d of %d files damaged", bad, len(report.Files)), hint)
}

var errNoReport = errors.New("the daemon answers without a report")

func printReport(w io.Writer, r *agent.QueueReport) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range r.Files {
		f := &r.Files[i]
		fmt.Fprintf(tab, "%s\t%s\t%d messages\t%s\n", f.Name, size(f.Bytes), f.Messages, fileText(f))
	}
	if len(r.Files) == 0 {
		fmt.Fprintln(tab, "no files: nothing was ever queued")
	}
	return tab.Flush()
}

func fileText(f *agent.QueueFile) string {
	if f.Problem == "" {
		return "sound"
	}
	if !f.Repaired {
		return "DAMAGED: " + oneLine(f.Problem)
	}
	lost := fmt.Sprintf("%d lost", f.Lost)
	switch {
	case f.Lost == 0 && f.AtMost:
		lost = "an unknown number lost"
	case f.Lost == 0:
		return fmt.Sprintf("repaired: %s; all messages salvaged", oneLine(f.Problem))
	case f.AtMost:
		lost = "at most " + lost
	}
	return fmt.Sprintf("repaired: %s; %d messages salvaged, %s, of which the hub is told", oneLine(f.Problem), f.Messages, lost)
}
