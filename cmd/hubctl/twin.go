package main

import (
	"context"
	"encoding/json"
	"errors"

	"iotagent/internal/cli"
	"iotagent/iothub/service"
)

type twinCommand struct {
	Get twinGet `cmd:"" help:"Show a device's twin."`
	Set twinSet `cmd:"" help:"Change a device's desired properties and tags, and show the twin."`
}

type twinGet struct {
	Device string `arg:"" help:"Device id."`
	JSON   bool   `help:"Print JSON, as the hub has it."`
}

// Run shows a twin.
func (c *twinGet) Run(ctx context.Context, std cli.IO, h *hub) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	t, err := client.Twin(ctx, c.Device)
	if err != nil {
		return h.adviseHTTPS(err)
	}
	return printTwin(std.Out, t, c.JSON)
}

type twinSet struct {
	Device  string `arg:"" help:"Device id."`
	Desired string `help:"JSON object to merge into the desired properties; null deletes." placeholder:"JSON"`
	Tags    string `help:"JSON object to merge into the tags; null deletes." placeholder:"JSON"`
	ETag    string `name:"etag" help:"Change only the twin that has this etag." placeholder:"ETAG"`
	JSON    bool   `help:"Print JSON, as the hub has it."`
}

// Validate refuses what changes nothing, and what is not an object.
func (c *twinSet) Validate() error {
	if c.Desired == "" && c.Tags == "" {
		return errors.New("give --desired JSON or --tags JSON, or both")
	}
	for _, part := range [][2]string{{"--desired", c.Desired}, {"--tags", c.Tags}} {
		var o map[string]json.RawMessage
		if part[1] != "" && (json.Unmarshal([]byte(part[1]), &o) != nil || o == nil) {
			return errors.New(part[0] + ": want a JSON object such as '{\"interval\":10}'")
		}
	}
	return nil
}

// Run changes a twin.
func (c *twinSet) Run(ctx context.Context, std cli.IO, h *hub) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	patch := &service.TwinPatch{ETag: c.ETag}
	if c.Desired != "" {
		patch.Desired = json.RawMessage(c.Desired)
	}
	if c.Tags != "" {
		patch.Tags = json.RawMessage(c.Tags)
	}
	t, err := client.UpdateTwin(ctx, c.Device, patch)
	if err != nil {
		return h.adviseHTTPS(err)
	}
	return printTwin(std.Out, t, c.JSON)
}
