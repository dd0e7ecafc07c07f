package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"iotagent/agent"
	"iotagent/config"
	"iotagent/internal/cli"
	"iotagent/internal/version"
	"iotagent/outbox"
)

type runCommand struct {
	Once         bool `xor:"mode" help:"Read every sensor once, send everything, at most a minute; 1 if something is left."`
	UntilDrained bool `xor:"mode" help:"Send what is queued, take no readings, end when the outbox is empty."`
}

// onceLimit is how long --once may take.
const onceLimit = time.Minute

// Run is the daemon.
func (c *runCommand) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		return err
	}
	log := logger(std, parseLevel(f.Agent.LogLevel))
	for _, w := range f.Warnings {
		log.Warn("configuration", "warning", w)
	}
	link, err := dialer(f, c.Once || c.UntilDrained, log)
	if err != nil {
		return err
	}
	if c.Once || c.UntilDrained {
		return c.finite(ctx, f, link, log)
	}
	stopWatching := link.watch(ctx)
	defer stopWatching()
	return serve(ctx, f, link, log)
}

// finite runs one of the modes that end by themselves; they take no commands.
func (c *runCommand) finite(ctx context.Context, f *config.File, link *hubLink, log *slog.Logger) error {
	q, err := openOutbox(f, 0, log)
	if err != nil {
		return err
	}
	o := agentOptions(f, q, link, log)
	hw, sources := openSensors(f, o.Clock, log)
	if c.Once {
		o.Sources = sources
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, onceLimit)
		defer cancel()
	}
	a := agent.New(o)
	if c.Once {
		err = a.Once(ctx)
	} else {
		err = a.Drain(ctx)
	}
	if errors.Is(err, agent.ErrNotDrained) {
		err = cli.Fail(cli.Failed, err, "what is left stays queued; iotagent status says why the hub is not reached")
	}
	return errors.Join(err, hw.Close(), q.Close())
}

// serve runs the daemon: the parts are opened in the order of their dependence and closed in the opposite one.
func serve(ctx context.Context, f *config.File, link *hubLink, log *slog.Logger) error {
	q, err := openOutbox(f, bothBusy, log) // a send may have it open
	if err != nil {
		return err
	}
	o := agentOptions(f, q, link, log)
	hw, sources := openSensors(f, o.Clock, log)
	commands, closeLedger, err := openCommands(ctx, f, q, log)
	if err != nil {
		return errors.Join(err, hw.Close(), q.Close())
	}
	o.Sources, o.Commands = sources, commands
	o.Notify = notifier(log)
	if o.Watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		log.Warn("watchdog not used", "error", err)
	}
	a := agent.New(o)
	stopControl := startControl(ctx, f.Agent.StateDir, a, log)
	stopMetrics := startMetrics(ctx, f.Metrics, a, log)
	err = a.Run(ctx)
	stopMetrics()
	stopControl()
	return errors.Join(err, closeLedger(), hw.Close(), q.Close())
}

// startControl opens the control socket; without one the daemon works all the same, and says so.
func startControl(ctx context.Context, stateDir string, a *agent.Agent, log *slog.Logger) (stop func()) {
	l, cleanup, err := listenControl(ctx, stateDir)
	if err != nil {
		log.Error("no control socket: status, send and queue will not find this daemon", "error", err)
		return func() {}
	}
	cctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { agent.NewControl(a, log).Serve(cctx, l) })
	return func() {
		cancel()
		wg.Wait()
		cleanup()
	}
}

// notifier returns the way to the service manager, which is there only when it started us.
func notifier(log *slog.Logger) func(state string) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Warn("service manager not told", "state", state, "error", err)
		}
	}
}

func agentOptions(f *config.File, q *outbox.Outbox, link *hubLink, log *slog.Logger) *agent.Options {
	return &agent.Options{
		Queue: q, Admin: q, Dial: link.dial, Clock: openClock(f), HubTime: link.time, Drain: f.Agent.DrainTimeout.Duration, Version: version.String(), Logger: log,
		MeterFile: filepath.Join(f.Agent.StateDir, "metered.json"),
		Pack:      packOptions(f),
	}
}
