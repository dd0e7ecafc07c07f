package execsensor

import (
	"context"
	_ "embed" // for the sample configuration
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"iotagent/internal/program"
	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "exec",
		Doc:    "a program of yours that prints a number, or a JSON object of numbers",
		Sample: sample,
		New:    func() sensors.Config { return &Config{} },
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Path is the program, the whole of it from /. It must not be writable by anyone.
	Path string `toml:"path"`
	// Args follow the program's name.
	Args []string `toml:"args"`
	// Dir is where it runs. Default "/".
	Dir string `toml:"dir"`
	// Env names variables of the agent's environment to pass on ("TZ") or sets them ("MODE=soft").
	Env []string `toml:"env"`
	// Sample is what a lone number is called; it ends in its unit. An object brings names of its own.
	Sample string `toml:"sample"`
}

var _ sensors.Config = (*Config)(nil)

const (
	// maxOutput is what a program may print.
	maxOutput = 64 << 10
	// maxWords is kept of standard error, from its end.
	maxWords = 2 << 10
	// killGrace is short, so that the reading says itself why it failed before its sampler does.
	killGrace = 100 * time.Millisecond
)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	cmd := c.command()
	cmd.Env = c.Env
	cmd.Validate("/usr/local/lib/iotagent/flow-meter", bad)
	if c.Sample != "" && !isSampleName(c.Sample) {
		bad("sample", fmt.Sprintf("want a name in lower case that ends in its unit, such as \"level_percent\", got %q", c.Sample))
	}
}

// isSampleName wants a unit, so that no name is a word that messages have a meaning for ("time", "quality").
func isSampleName(s string) bool {
	return len(s) <= 64 && regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)+$`).MatchString(s)
}

func (c *Config) command() program.Command {
	return program.Command{Path: c.Path, Args: c.Args, Dir: c.Dir, Grace: killGrace}
}

// Open looks whether the program can be run. It does not run it.
func (c *Config) Open(ctx context.Context, _ sensors.Hardware) (sensors.Sensor, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	d := &device{cmd: c.command(), sample: c.Sample}
	if err := d.cmd.Ready(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", sensors.ErrAbsent, err)
		}
		return nil, fmt.Errorf("exec: %w", err)
	}
	d.cmd.Env = program.Environment(c.Env)
	return d, nil
}
