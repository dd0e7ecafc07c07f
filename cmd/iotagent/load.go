package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"iotagent/c2d/all"
	"iotagent/config"
	"iotagent/internal/cli"
	sensorsall "iotagent/sensors/all"
)

// configPath is the value of --config.
type configPath string

func bindConfig(p *program) kong.Option {
	return kong.BindToProvider(func() (configPath, error) { return configPath(p.Config), nil })
}

func configOptions() *config.Options {
	return &config.Options{Sensors: sensorsall.Drivers(), Commands: all.Types()}
}

// load reads the configuration; its error has the exit status of a bad one.
func (p configPath) load() (*config.File, error) {
	f, err := config.Load(string(p), configOptions())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, cli.Mistakes(err, "write it, or name another with --config; an example lies in /usr/share/doc/iotagent/examples")
	case errors.Is(err, fs.ErrPermission):
		return nil, cli.Mistakes(err, "run it with sudo, or as a member of the group iotagent")
	case err != nil:
		return nil, cli.Mistakes(err, fmt.Sprintf("mend the file, then: iotagent --config %s check", p))
	}
	return f, nil
}

// logger writes to stderr: for the journal without a time (it has its own), for a person with one. $JOURNAL_STREAM is set by systemd.
func logger(std cli.IO, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if os.Getenv("JOURNAL_STREAM") != "" {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(std.Err, o))
}

func parseLevel(s string) slog.Level {
	var l slog.Level
	if l.UnmarshalText([]byte(strings.ToUpper(s))) != nil {
		return slog.LevelInfo
	}
	return l
}
