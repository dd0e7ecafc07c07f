package cli

import (
	"encoding/json"
	"fmt"
	"runtime"

	"iotagent/internal/version"
)

// VersionCommand prints the version; every program has it.
type VersionCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run prints the version of the program that is named.
func (c *VersionCommand) Run(std IO, name Name) error {
	if c.JSON {
		return json.NewEncoder(std.Out).Encode(map[string]string{
			"version": version.String(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
		})
	}
	_, err := fmt.Fprintln(std.Out, name, version.String())
	return err
}
