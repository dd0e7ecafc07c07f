package main

import (
	"context"
	"encoding/json"
	"fmt"

	"iotagent/internal/cli"
	"iotagent/iothub/service"
)

type feedbackCommand struct {
	Count int  `help:"End after so many records; 0 goes on until Ctrl-C." default:"0"`
	JSON  bool `help:"Print one JSON object a line, in the hub's own words."`
}

// Run prints the records as they come.
func (c *feedbackCommand) Run(ctx context.Context, std cli.IO, h *hub) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(std.Out)
	seen := 0
	var werr error
	err = client.Feedback(ctx,
		func() { fmt.Fprintln(std.Err, "watching the feedback of", client.Host()) },
		func(f service.Feedback) bool {
			seen++
			if c.JSON {
				werr = enc.Encode(f)
			} else {
				_, werr = fmt.Fprintf(std.Out, "%s  %-12s  %-22s  %s  %s\n",
					f.EnqueuedTimeUTC.Local().Format("15:04:05.000"), f.DeviceID, f.StatusCode, f.OriginalMessageID, described(f))
			}
			return werr == nil && (c.Count == 0 || seen < c.Count)
		})
	if err != nil {
		return advise(err)
	}
	return werr
}

// described leaves out a description that only repeats the code.
func described(f service.Feedback) string {
	if f.Description == f.StatusCode {
		return ""
	}
	return f.Description
}
