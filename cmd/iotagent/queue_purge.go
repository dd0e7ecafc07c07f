package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"iotagent/agent"
	"iotagent/internal/cli"
)

type queuePurge struct {
	lanesFlag
	OlderThan time.Duration `help:"Only what was put at least this long ago, such as 24h." placeholder:"DURATION"`
	Dead      bool          `help:"The dead letters, which the hub refused for good, in place of what is queued."`
	Yes       bool          `help:"Do not ask." short:"y"`
	JSON      bool          `help:"Print JSON."`
}

// Run counts, asks, purges.
func (c *queuePurge) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		return err
	}
	return c.purge(ctx, std, queueAsker(f, logger(std, quiet)), isTerminal(std.In))
}

// isTerminal says that a person may sit there.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (c *queuePurge) purge(ctx context.Context, std cli.IO, ask asker, terminal bool) error {
	switch {
	case c.OlderThan < 0:
		return cli.Fail(cli.Usage, errors.New("--older-than is less than nothing"), "")
	case c.Dead && (len(c.Lane) > 0 || c.OlderThan > 0):
		return cli.Fail(cli.Usage, errors.New("dead letters go all together, neither by lane nor by age"), "leave out --lane and --older-than")
	case !c.Yes && !terminal:
		return cli.Fail(cli.Usage, errors.New("nobody to ask: standard input is no terminal"), "add --yes, if what goes is not needed")
	}
	req := agent.Request{Op: agent.OpQueuePurge, Lanes: c.Lane, Dead: c.Dead}
	if c.OlderThan > 0 {
		before := time.Now().Add(-c.OlderThan)
		req.Before = &before
	}
	if !c.Yes {
		if ok, err := c.confirm(ctx, std, ask, req); !ok || err != nil {
			return err
		}
	}
	sum, err := askPurge(ctx, ask, req)
	if err != nil && sum.Messages > 0 {
		err = fmt.Errorf("%s thrown away, then: %w", purgedText(sum), err)
	}
	if err != nil {
		return err
	}
	return c.print(std.Out, sum)
}

// confirm counts what would go and asks a person. Nothing to throw away is no question.
func (c *queuePurge) confirm(ctx context.Context, std cli.IO, ask asker, req agent.Request) (bool, error) {
	req.DryRun = true
	sum, err := askPurge(ctx, ask, req)
	if err != nil {
		return false, err
	}
	if sum.Messages+sum.DeadLetters == 0 {
		return false, c.print(std.Out, sum)
	}
	fmt.Fprintf(std.Err, "%s will be thrown away%s.%s\nGo on? [y/N] ", purgedText(sum), olderText(req.Before), toldText(sum))
	ok, err := yes(ctx, std.In)
	if err == nil && !ok {
		err = errors.New("nothing was thrown away")
	}
	return ok, err
}

// yes reads a line. The read that ctx cuts off is left behind: the program ends.
func yes(ctx context.Context, in io.Reader) (bool, error) {
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(in).ReadString('\n') // an end of the input is a no
		line <- strings.ToLower(strings.TrimSpace(s))
	}()
	select {
	case s := <-line:
		return s == "y" || s == "yes", nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

func askPurge(ctx context.Context, ask asker, req agent.Request) (*agent.QueuePurged, error) {
	sum := &agent.QueuePurged{}
	err := ask(ctx, req, func(a *agent.Answer) error {
		if a.Purged != nil {
			sum = a.Purged
		}
		return nil
	})
	return sum, err
}

func (c *queuePurge) print(w io.Writer, sum *agent.QueuePurged) error {
	if c.JSON {
		return printObject(w, sum)
	}
	if sum.Messages+sum.DeadLetters == 0 {
		_, err := fmt.Fprintln(w, "there is nothing to throw away")
		return err
	}
	_, err := fmt.Fprintf(w, "%s thrown away.%s\n", purgedText(sum), toldText(sum))
	return err
}

// purgedText says what a purge comes to: "12 messages with 34 readings (alarm 2, bulk 10)".
func purgedText(sum *agent.QueuePurged) string {
	if sum.DeadLetters > 0 {
		return fmt.Sprintf("%d dead letters", sum.DeadLetters)
	}
	var lanes []string
	for _, l := range sum.Lanes {
		if l.Messages > 0 {
			lanes = append(lanes, fmt.Sprintf("%s %d", l.Lane, l.Messages))
		}
	}
	return fmt.Sprintf("%d messages with %d readings (%s)", sum.Messages, sum.Readings, strings.Join(lanes, ", "))
}

func olderText(before *time.Time) string {
	if before == nil {
		return ""
	}
	return ", all put before " + before.Local().Format(time.DateTime)
}

func toldText(sum *agent.QueuePurged) string {
	if sum.Messages == 0 {
		return ""
	}
	return " The hub will be told by gap messages."
}
