package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"iotagent/internal/cli"
	"iotagent/iothub/service"
)

type sendCommand struct {
	Device        string            `arg:"" help:"Device id."`
	Command       string            `help:"Name of the command: sets the property \"command\"." placeholder:"NAME"`
	Body          string            `help:"JSON object of arguments." placeholder:"JSON"`
	Ack           string            `help:"Outcomes to give feedback on: ${enum}." enum:"none,positive,negative,full" default:"none"`
	Prop          map[string]string `help:"Application property; may be repeated." placeholder:"K=V" mapsep:"none"`
	Expires       time.Duration     `help:"How long the command may wait for its device; 0s leaves it to the hub (1h by default)." default:"0s" placeholder:"DURATION"`
	CorrelationID string            `help:"Correlation-id; default none." placeholder:"ID"`
	ID            string            `help:"Message-id; default a random one." placeholder:"ID"`
	JSON          bool              `help:"Print JSON."`
}

// Validate refuses what would be sent as something else.
func (c *sendCommand) Validate() error {
	if c.Expires < 0 {
		return errors.New("--expires: want 0s or more")
	}
	return nil
}

// sendLimit is how long the hub may take.
const sendLimit = 60 * time.Second

// Run sends the command and prints its message-id.
func (c *sendCommand) Run(ctx context.Context, std cli.IO, h *hub) error {
	client, err := h.client()
	if err != nil {
		return err
	}
	cmd := &service.Command{ID: c.ID, CorrelationID: c.CorrelationID, Ack: service.Ack(c.Ack), Properties: maps.Clone(c.Prop), Body: []byte(c.Body)}
	if cmd.ID == "" {
		cmd.ID = service.NewID()
	}
	if c.Command != "" {
		if cmd.Properties == nil {
			cmd.Properties = map[string]string{}
		}
		cmd.Properties["command"] = c.Command
	}
	if c.Expires > 0 {
		cmd.Expires = time.Now().Add(c.Expires)
	}
	ctx, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	if err := client.Send(ctx, c.Device, cmd); err != nil {
		return advise(err)
	}
	if c.JSON {
		return encoder(std.Out).Encode(map[string]string{"device": c.Device, "message_id": cmd.ID})
	}
	_, err = fmt.Fprintln(std.Out, cmd.ID)
	return err
}
