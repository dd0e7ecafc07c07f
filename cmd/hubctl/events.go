package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"iotagent/internal/cli"
	"iotagent/iothub/service"
)

type eventsCommand struct {
	From          string `help:"Where to begin: earliest, latest, a sequence number, or a time (RFC 3339)." default:"latest" placeholder:"POSITION"`
	ConsumerGroup string `help:"Consumer group." default:"$Default"`
	Count         int    `help:"End after so many events; 0 goes on until Ctrl-C." default:"0"`
	JSON          bool   `help:"Print one JSON object a line, as hubsim --events does."`
}

// Run prints the events as they come.
func (c *eventsCommand) Run(ctx context.Context, std cli.IO, h *hub) error {
	from, err := parseFrom(c.From)
	if err != nil {
		return cli.Fail(cli.Usage, err, "")
	}
	client, err := h.client()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(std.Out)
	seen := 0
	var werr error
	err = client.Events(ctx, &service.EventsOptions{
		From: from, ConsumerGroup: c.ConsumerGroup,
		Lost: func(err error, retry time.Duration) {
			fmt.Fprintf(std.Err, "connection lost (%v); again in %s\n", err, retry.Round(100*time.Millisecond))
		},
		Ready: func(n int) { fmt.Fprintf(std.Err, "following %d partitions of %s\n", n, client.Host()) },
	}, func(e *service.Event) bool {
		seen++
		if c.JSON {
			werr = enc.Encode(e)
		} else {
			werr = printEvent(std.Out, e)
		}
		return werr == nil && (c.Count == 0 || seen < c.Count)
	})
	if err != nil {
		return advise(err)
	}
	return werr
}

func printEvent(w io.Writer, e *service.Event) error {
	body := fmt.Sprintf("(%d bytes, not text)", len(e.Body))
	if utf8.Valid(e.Body) {
		body = string(e.Body)
	}
	_, err := fmt.Fprintf(w, "%s  %-12s  %s/%-6d  %s\n", e.Enqueued.Local().Format("15:04:05.000"), e.Device, e.Partition, e.Sequence, body)
	return err
}

func parseFrom(s string) (service.From, error) {
	switch s {
	case "earliest":
		return service.From{}, nil
	case "latest":
		return service.From{Latest: true}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return service.From{Sequence: &n}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return service.From{}, fmt.Errorf("--from %q: want earliest, latest, a sequence number or a time such as 2026-11-22T10:00:00Z", s)
	}
	return service.From{Time: t}, nil
}
