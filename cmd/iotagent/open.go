package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"iotagent/agent"
	"iotagent/c2d"
	"iotagent/config"
	"iotagent/internal/cli"
	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/sensors"
)

// maxEnvelope is the largest message that IoT Hub takes and what the agent keeps beside it.
const maxEnvelope = 272 << 10

// openOutbox opens the queue; lockWait is how long another process may still hold it, 0 for the default of the package.
func openOutbox(f *config.File, lockWait time.Duration, log *slog.Logger) (*outbox.Outbox, error) {
	o := outboxOptions(f)
	o.LockWait, o.Logger = lockWait, log
	q, err := outbox.Open(filepath.Join(f.Agent.StateDir, "outbox"), o)
	switch {
	case errors.Is(err, outbox.ErrLocked):
		return nil, cli.Fail(cli.Failed, err, "another iotagent works in "+f.Agent.StateDir+"; iotagent status shows it")
	case errors.Is(err, os.ErrPermission):
		return nil, cli.Fail(cli.Failed, err, "the user that runs iotagent must own "+f.Agent.StateDir+", or set [agent] state_dir to another folder")
	case err != nil:
		return nil, cli.Fail(cli.Failed, err, "")
	}
	return q, nil
}

// outboxOptions are what the configuration says of the queue.
func outboxOptions(f *config.File) *outbox.Options {
	o := &outbox.Options{
		MaxBytes: f.Outbox.MaxBytes.N, MaxLoss: f.Outbox.MaxLoss.Duration, MaxMessage: maxEnvelope,
		Thin: agent.NewThinner(thinned(f), f.Telemetry.MaxMessageBytes), LiveFirst: f.Outbox.Order == "live-first",
	}
	if free := f.Outbox.MinFree; free != nil {
		o.MinFree = free.N
		if free.N == 0 {
			o.MinFree = -1 // none, where 0 is the default
		}
	}
	return o
}

// thinned names the sensors that opted in.
func thinned(f *config.File) []string {
	var names []string
	for _, s := range f.Sensors {
		if s.Thin == config.ThinMean {
			names = append(names, s.Name)
		}
	}
	return names
}

// openHardware returns this machine's hardware, whose drivers may keep files in the state directory.
func openHardware(f *config.File) *sensors.Board {
	return sensors.NewHardware("/", &sensors.HardwareOptions{StateDir: f.Agent.StateDir})
}

// openClock returns the machine's clock, with what earlier processes knew of it.
func openClock(f *config.File) *clock.Clock {
	return clock.Open(clock.OpenAnchors(clock.Path(f.Agent.StateDir)))
}

func openSensors(f *config.File, c *clock.Clock, log *slog.Logger) (*sensors.Board, []agent.Source) {
	hw := openHardware(f)
	var sources []agent.Source
	for _, s := range f.Sensors {
		lane, err := agent.ParseLane(s.Lane)
		if err != nil { // the configuration has ruled it out
			lane = outbox.Normal
		}
		sources = append(sources, agent.Source{
			Sampler: sensors.NewSampler(s.Common, s.Config, hw, &sensors.SamplerOptions{Clock: c, Logger: log}),
			Lane:    lane,
		})
	}
	return hw, sources
}

// openCommands opens the ledger and every handler. A handler that cannot be opened refuses its commands and is tried again at each; it
// never keeps the daemon down.
func openCommands(ctx context.Context, f *config.File, q outbox.Queue, log *slog.Logger) (agent.Commands, func() error, error) {
	ledger, err := c2d.OpenLedger(filepath.Join(f.Agent.StateDir, "commands.db"), &c2d.LedgerOptions{Logger: log})
	if err != nil {
		return nil, nil, cli.Fail(cli.Failed, err, "")
	}
	handlers := make([]c2d.NamedHandler, len(f.Commands))
	for i, cmd := range f.Commands {
		env := c2d.Env{Name: cmd.Name, Root: "/", Logger: log.With("command", cmd.Name)}
		handlers[i] = c2d.NamedHandler{Common: cmd.Common, Handler: c2d.OpenLater(ctx, cmd.Config, env)}
	}
	return c2d.NewRouter(&c2d.Options{
		Ledger: ledger, Handlers: handlers, Report: agent.ReportTo(q), Logger: log,
		ClockTrusted: func() bool { return clock.Plausible(time.Now()) },
	}), ledger.Close, nil
}
