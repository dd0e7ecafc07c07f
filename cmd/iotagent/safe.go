package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"iotagent/internal/cli"
)

type safeCommand struct{}

// safeSetter is a command type that can bring what it drives to its safe state without a daemon.
type safeSetter interface {
	SetSafe(ctx context.Context) error
}

// Run brings every output to its safe state. The unit calls it after the daemon ended, however it ended.
func (c *safeCommand) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		if os.Getenv("EXIT_STATUS") == strconv.Itoa(cli.Config) {
			return nil // the daemon refused this file: it has said why, and it drove nothing
		}
		return err
	}
	var errs []error
	for _, cmd := range f.Commands {
		s, ok := cmd.Config.(safeSetter)
		if !ok {
			continue
		}
		if err := s.SetSafe(ctx); err != nil {
			errs = append(errs, fmt.Errorf("command %q: %w", cmd.Name, err))
			continue
		}
		fmt.Fprintf(std.Out, "command %q is in its safe state\n", cmd.Name)
	}
	return errors.Join(errs...)
}
