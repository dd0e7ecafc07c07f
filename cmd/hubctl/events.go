package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"iotagent/internal/cli"
	"iotagent/iothub/service"
)

type eventsCommand struct {
	From          string   `help:"Where to begin in each partition: earliest, latest, a sequence number, offset:N, or a time such as 2026-11-22T10:00:00Z (default: ${default})." default:"latest" placeholder:"earliest|latest|SEQ|offset:N|TIME"`
	Partition     []string `help:"Id of a partition to follow; may be repeated. Without it, all." placeholder:"ID"`
	ConsumerGroup string   `help:"Consumer group to read with (default: ${default})." default:"$$Default" placeholder:"GROUP"`
	Count         int      `help:"End after so many events; 0 goes on until Ctrl-C." default:"0" placeholder:"N"`
	JSON          bool     `help:"Print one JSON object a line, as hubsim --events does."`
}

// Validate refuses what no hub could make sense of.
func (c *eventsCommand) Validate() error {
	if c.Count < 0 {
		return errors.New("--count: want 0 or more")
	}
	_, err := parseFrom(c.From)
	return err
}

// Run prints the events as they come.
func (c *eventsCommand) Run(ctx context.Context, std cli.IO, h *hub) error {
	from, err := parseFrom(c.From)
	if err != nil {
		return err
	}
	client, err := h.client()
	if err != nil {
		return err
	}
	show := newPrinter(std.Out, time.Local).event
	if c.JSON {
		enc := encoder(std.Out)
		show = func(e *service.Event) error { return enc.Encode(e) }
	}
	seen := 0
	var werr error
	err = client.Events(ctx, &service.EventsOptions{
		From: from, ConsumerGroup: c.ConsumerGroup, Partitions: c.Partition, Lost: sayLost(std.Err),
		Ready: func(n int) { fmt.Fprintf(std.Err, "following %s of %s\n", counted(n, "partition"), client.Host()) },
	}, func(e *service.Event) bool {
		seen++
		werr = show(e)
		return werr == nil && (c.Count == 0 || seen < c.Count)
	})
	if errors.Is(err, service.ErrNotFound) {
		return cli.Fail(cli.Failed, err, "does the hub have the consumer group "+c.ConsumerGroup+"?")
	}
	if err != nil {
		return advise(err)
	}
	return werr
}

// counted is a number of things in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// encoder writes JSON as it is, without the escapes that only web pages need.
func encoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// sayLost tells a person that the program has not given up.
func sayLost(w io.Writer) func(error, time.Duration) {
	return func(err error, retry time.Duration) {
		fmt.Fprintf(w, "not connected (%v); again in %s\n", err, retry.Round(100*time.Millisecond))
	}
}

func parseFrom(s string) (service.From, error) {
	switch s {
	case "earliest":
		return service.From{}, nil
	case "latest":
		return service.From{Latest: true}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return service.From{Sequence: &n}, nil
	}
	if offset, ok := strings.CutPrefix(s, "offset:"); ok && offset != "" && strings.Trim(offset, "0123456789:") == "" {
		return service.From{Offset: offset}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return service.From{}, fmt.Errorf("--from %q: want earliest, latest, a sequence number, offset:N or a time such as 2026-11-22T10:00:00Z", s)
	}
	return service.From{Time: t}, nil
}
