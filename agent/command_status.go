package agent

import "iotagent/c2d"

// Command is one command's part of Status: the router's view, with the level of an output beside it.
type Command struct {
	c2d.CommandStatus
	// Level is "high" or "low" for commands that drive an output.
	Level string `json:"level,omitempty"`
}

func commandState(c c2d.CommandStatus) Command {
	return Command{CommandStatus: c, Level: c.State["level"]}
}
