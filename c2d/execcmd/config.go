package execcmd

import (
	"context"
	_ "embed"

	"iotagent/c2d"
	"iotagent/internal/program"
	"iotagent/internal/quantity"
)

//go:embed sample.toml
var sample string

// Type returns the handler type "exec".
func Type() c2d.Type {
	return c2d.Type{
		Name: "exec", Doc: "runs a program that the configuration names", Sample: sample,
		New: func() c2d.Config { return &Config{MaxOutput: quantity.Bytes{N: 64 << 10}} },
	}
}

var _ c2d.Config = (*Config)(nil)

// Config is what a [[command]] table of type "exec" may say.
type Config struct {
	// Path of the program; absolute.
	Path string `toml:"path"`
	// Args follow the program's name.
	Args []string `toml:"args"`
	// Dir to run in; absolute, default "/".
	Dir string `toml:"dir"`
	// Env names variables of the agent's environment to pass on ("TZ") or sets them ("MODE=soft").
	Env []string `toml:"env"`
	// MaxOutput bounds what is kept of standard output; default 64 KiB. The program may write more.
	MaxOutput quantity.Bytes `toml:"max_output"`
	// Idempotent says that running the program twice is as good as once.
	Idempotent bool `toml:"idempotent"`
}

// Validate implements c2d.Config.
func (c *Config) Validate(bad func(key, msg string)) {
	cmd := c.command()
	cmd.Env = c.Env
	cmd.Validate("/usr/lib/iotagent/handlers.d/restart-plc", bad)
	const least, most = 1 << 10, 192 << 10
	if n := c.MaxOutput.N; c.MaxOutput.Problem() == "" && (n < least || n > most) {
		bad("max_output", "want 1KiB to 192KiB: a message to the hub holds 256KiB")
	}
}

// command is what is run, without its environment.
func (c *Config) command() program.Command {
	return program.Command{Path: c.Path, Args: c.Args, Dir: c.Dir, Grace: killGrace}
}

// Open implements c2d.Config: it looks whether the program can be run.
func (c *Config) Open(_ context.Context, env c2d.Env) (c2d.Handler, error) {
	h := &handler{c: *c, cmd: c.command(), log: env.Logger}
	if err := h.cmd.Ready(); err != nil {
		return nil, err
	}
	h.cmd.Env = program.Environment(c.Env, "IOTAGENT_COMMAND="+env.Name)
	return h, nil
}
