package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"iotagent/agent"
	"iotagent/internal/cli"
	"iotagent/internal/clock"
)

// lanesFlag chooses lanes; a command that embeds it works on all without one.
type lanesFlag struct {
	Lane []string `help:"Only this lane (${enum}), any number of times." enum:"alarm,normal,bulk" placeholder:"LANE"`
}

type queueList struct {
	lanesFlag
	Limit int  `help:"At most this many lines; 0 for all." default:"100" placeholder:"N"`
	Dead  bool `help:"The dead letters, which the hub refused for good, in place of what is queued."`
	JSON  bool `help:"Print one JSON object a line."`
}

// Run prints a line for each entry as it comes, so that the length of the queue does not matter.
func (c *queueList) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		return err
	}
	return c.list(ctx, std, queueAsker(f, logger(std, quiet)))
}

func (c *queueList) list(ctx context.Context, std cli.IO, ask asker) error {
	if c.Limit < 0 {
		return cli.Fail(cli.Usage, fmt.Errorf("--limit %d is less than nothing", c.Limit), "0 is without a limit")
	}
	req := agent.Request{Op: agent.OpQueueList, Lanes: c.Lane, Dead: c.Dead}
	if c.Limit > 0 {
		req.Limit = c.Limit + 1 // to know whether there are more
	}
	show := c.printer(std.Out)
	n := 0
	err := ask(ctx, req, func(a *agent.Answer) error {
		for i := range a.Entries {
			if n++; c.Limit > 0 && n > c.Limit {
				break
			}
			if err := show(&a.Entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case c.Limit > 0 && n > c.Limit:
		fmt.Fprintf(std.Err, "there are more than these %d; --limit 0 prints all, iotagent queue stats counts them\n", c.Limit)
	case n == 0 && !c.JSON && c.Dead:
		fmt.Fprintln(std.Out, "no dead letters")
	case n == 0 && !c.JSON:
		fmt.Fprintln(std.Out, "nothing is queued")
	}
	return nil
}

func (c *queueList) printer(w io.Writer) func(*agent.QueueEntry) error {
	if c.JSON {
		return entryEncoder(w)
	}
	return func(e *agent.QueueEntry) error {
		_, err := io.WriteString(w, entryLine(time.Now(), e))
		return err
	}
}

func entryEncoder(w io.Writer) func(*agent.QueueEntry) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return func(e *agent.QueueEntry) error { return enc.Encode(e) }
}

// entryLine is one entry for a person: id, age, size, readings and what there is to say.
func entryLine(now time.Time, e *agent.QueueEntry) string {
	since, bytes, readings := "unknown", size(int64(e.Size)), "-"
	if clock.Plausible(e.Put) {
		since = age(now, e.Put)
	}
	if e.Readings > 0 {
		readings = fmt.Sprintf("%d readings", e.Readings)
	}
	var parts []string
	if e.Gap != nil {
		bytes = "-"
		parts = append(parts, gapText(e.Gap))
	}
	if e.First > 0 {
		last := e.MessageID[strings.LastIndexByte(e.MessageID, '-')+1:]
		parts = append(parts, fmt.Sprintf("thinned, stands for %d to %s", e.First, last))
	}
	parts = append(parts, stateText(now, e)...)
	return fmt.Sprintf("%-32s  %9s  %9s  %12s  %s\n", e.MessageID, since, bytes, readings, strings.Join(parts, "; "))
}

func stateText(now time.Time, e *agent.QueueEntry) []string {
	var parts []string
	switch {
	case e.Rejected != nil && clock.Plausible(*e.Rejected):
		return append(parts, fmt.Sprintf("refused %s ago: %s", age(now, *e.Rejected), oneLine(e.Reason)))
	case e.Rejected != nil:
		return append(parts, "refused: "+oneLine(e.Reason))
	case e.InFlight:
		parts = append(parts, "in flight")
	case e.Sent:
		parts = append(parts, "waiting, sent before")
	default:
		parts = append(parts, "waiting")
	}
	if e.MemoryOnly {
		parts = append(parts, "memory only")
	}
	return parts
}

// oneLine keeps what the hub said from breaking the line or driving the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// gapText is a loss in words.
func gapText(g *agent.DeclaredGap) string {
	if g.Reason == "unclean-stop" {
		return fmt.Sprintf("gap: an unclean stop; up to %s of readings before it may be missing", seconds(g.WithinSeconds))
	}
	text := fmt.Sprintf("gap: %d messages", g.Messages)
	switch {
	case g.Messages == 0:
		text = "gap: an unknown number of messages"
	case g.AtMost:
		text = fmt.Sprintf("gap: at most %d messages", g.Messages)
	}
	if g.From > 0 {
		text += fmt.Sprintf(" (%d to %d)", g.From, g.To)
	}
	if g.Readings > 0 {
		text += fmt.Sprintf(" with %d readings", g.Readings)
	}
	return text + " " + lossText(g.Reason)
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func lossText(reason string) string {
	switch reason {
	case "quota":
		return "dropped for want of room"
	case "memory":
		return "dropped: the disk did not work and memory was full"
	case "damage":
		return "lost to a damaged file"
	case "purged":
		return "purged by hand"
	}
	return "lost: " + reason
}
