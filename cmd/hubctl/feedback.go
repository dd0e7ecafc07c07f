package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iotagent/internal/cli"
	"iotagent/iothub/service"
)

type feedbackCommand struct {
	Count int  `help:"End after so many records, once the hub's batch is printed whole; 0 goes on until Ctrl-C." default:"0" placeholder:"N"`
	JSON  bool `help:"Print one JSON object a line, in the hub's own words."`
}

// Validate refuses a count that cannot be reached.
func (c *feedbackCommand) Validate() error {
	if c.Count < 0 {
		return errors.New("--count: want 0 or more")
	}
	return nil
}

// Run prints the records as they come. A batch that cannot be printed is left to the hub, which delivers it again.
func (c *feedbackCommand) Run(ctx context.Context, std cli.IO, h *hub) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	show := newPrinter(std.Out, time.Local).feedback
	if c.JSON {
		enc := encoder(std.Out)
		show = func(f *service.Feedback) error { return enc.Encode(f) }
	}
	seen := 0
	var werr error
	err = client.Feedback(ctx, &service.FeedbackOptions{
		Lost:  sayLost(std.Err),
		Ready: func() { fmt.Fprintln(std.Err, "watching the feedback of", client.Host()) },
	}, func(batch []service.Feedback) (bool, error) {
		for i := range batch {
			if werr = show(&batch[i]); werr != nil {
				return false, werr
			}
		}
		seen += len(batch)
		return c.Count == 0 || seen < c.Count, nil
	})
	if werr != nil {
		return werr
	}
	return advise(err)
}
