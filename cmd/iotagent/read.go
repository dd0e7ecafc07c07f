package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"iotagent/config"
	"iotagent/internal/cli"
	"iotagent/sensors"
)

type readCommand struct {
	Sensors []string `arg:"" optional:"" name:"sensor" help:"Names of sensors; all without one."`
	Watch   bool     `help:"Go on, each sensor at its interval, until Ctrl-C."`
	JSON    bool     `help:"Print one JSON object a line."`
}

var errSensorsFailed = errors.New("a sensor could not be read")

// Run takes one reading of each sensor, all at the same time, and fails if one failed. With --watch it goes on until it is interrupted.
func (c *readCommand) Run(ctx context.Context, std cli.IO, path configPath) error {
	f, err := path.load()
	if err != nil {
		return err
	}
	chosen, err := choose(f.Sensors, c.Sensors)
	if err != nil {
		return err
	}
	hw := openHardware(f)
	defer func() { _ = hw.Close() }() // read-only use: nothing to lose
	if c.Watch {
		return watch(ctx, std, chosen, hw, c.JSON)
	}
	readings := takeAll(ctx, chosen, hw)
	if err := printReadings(std.Out, readings, c.JSON); err != nil {
		return err
	}
	return judge(ctx, readings, f.Agent.StateDir)
}

// judge returns an error when a reading failed. Beside a daemon there is a reason that no sensor can know of.
func judge(ctx context.Context, readings []taken, stateDir string) error {
	if !slices.ContainsFunc(readings, func(t taken) bool { return t.Quality == string(sensors.Failed) }) {
		return nil
	}
	if _, err := askDaemon(ctx, stateDir); err != nil {
		return errSensorsFailed
	}
	return cli.Fail(cli.Failed, errSensorsFailed, "the daemon is running: what it holds alone, GPIO lines and serial ports, cannot be read beside it; "+
		"iotagent status shows what it reads, systemctl stop iotagent lets go")
}

func choose(all []config.Sensor, names []string) ([]config.Sensor, error) {
	if len(names) == 0 {
		return all, nil
	}
	var chosen []config.Sensor
	for _, name := range names {
		i := slices.IndexFunc(all, func(s config.Sensor) bool { return s.Name == name })
		if i < 0 {
			known := make([]string, len(all))
			for i, s := range all {
				known[i] = s.Name
			}
			return nil, cli.Fail(cli.Usage, fmt.Errorf("no sensor %q in the configuration", name), "configured are: "+strings.Join(known, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func takeAll(ctx context.Context, chosen []config.Sensor, hw sensors.Hardware) []taken {
	readings := make([]taken, len(chosen))
	var wg sync.WaitGroup
	for i, s := range chosen {
		wg.Go(func() {
			sampler := sensors.NewSampler(s.Common, s.Config, hw, nil)
			r, took := sampler.Once(ctx)
			readings[i] = newTaken(s, sampler.Status().Device, r, took)
			readings[i].unseen = sampler.Unseen()
		})
	}
	wg.Wait()
	return readings
}
