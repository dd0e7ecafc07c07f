package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"iotagent/internal/cli"
	"iotagent/iothub/service"
)

type callCommand struct {
	Device         string        `arg:"" help:"Device id."`
	Method         string        `arg:"" help:"Name of the method."`
	Payload        string        `help:"JSON to send with it; default null." placeholder:"JSON"`
	Timeout        time.Duration `help:"How long the device may take to answer, 5s to 300s (default: ${default})." default:"30s" placeholder:"DURATION"`
	ConnectTimeout time.Duration `help:"How long to wait for a device that is away, up to 300s (default: ${default})." default:"0s" placeholder:"DURATION"`
	JSON           bool          `help:"Print JSON."`
}

// Validate refuses what no hub would take.
func (c *callCommand) Validate() error {
	const limit = 300 * time.Second
	switch {
	case c.Payload != "" && !json.Valid([]byte(c.Payload)):
		return errors.New("--payload: want JSON; a text has quotes: '\"on\"'")
	case c.Timeout < 5*time.Second || c.Timeout > limit || c.Timeout%time.Second != 0:
		return errors.New("--timeout: want 5s to 300s, in whole seconds")
	case c.ConnectTimeout < 0 || c.ConnectTimeout > limit || c.ConnectTimeout%time.Second != 0:
		return errors.New("--connect-timeout: want 0s to 300s, in whole seconds")
	}
	return nil
}

// Run calls a direct method and prints the answer. A status of 400 and above, or below 0, is a failure.
func (c *callCommand) Run(ctx context.Context, std cli.IO, h *hub) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	call := &service.MethodCall{Name: c.Method, ResponseTimeout: c.Timeout, ConnectTimeout: c.ConnectTimeout}
	if c.Payload != "" {
		call.Payload = json.RawMessage(c.Payload)
	}
	fmt.Fprintf(std.Err, "calling %s on %s, for %s at most\n", c.Method, c.Device, c.Timeout+c.ConnectTimeout)
	r, err := client.Call(ctx, c.Device, call)
	if err != nil {
		return h.adviseHTTPS(err)
	}
	if err := printResult(std.Out, r, c.JSON); err != nil {
		return err
	}
	if r.Status < 0 || r.Status >= 400 {
		return cli.Fail(cli.Failed, fmt.Errorf("call %s of %s: the device answered with status %d", c.Method, c.Device, r.Status), "")
	}
	return nil
}
