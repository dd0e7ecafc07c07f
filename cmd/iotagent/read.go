package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"iotagent/config"
	"iotagent/internal/cli"
	"iotagent/sensors"
)

type readCommand struct {
	Sensors []string `arg:"" optional:"" name:"sensor" help:"Names of sensors; all without one."`
	JSON    bool     `help:"Print one JSON object a line."`
}

// taken is one reading for a person or a script. docs/formats.md shows its JSON.
type taken struct {
	Sensor        string             `json:"sensor"`
	Type          string             `json:"type"`
	Device        string             `json:"device,omitempty"`
	Time          time.Time          `json:"time"`
	Quality       string             `json:"quality"`
	Reason        string             `json:"reason,omitempty"`
	Values        map[string]float64 `json:"values,omitempty"`
	LatencyMillis float64            `json:"latency_ms"`
	order         []string
}

var errSensorsFailed = errors.New("a sensor could not be read")

// Run takes one reading of each sensor, all at the same time, and fails if one failed.
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
	readings := takeAll(ctx, chosen, hw)
	if err := printReadings(std.Out, readings, c.JSON); err != nil {
		return err
	}
	if slices.ContainsFunc(readings, func(t taken) bool { return t.Quality == string(sensors.Failed) }) {
		return errSensorsFailed
	}
	return nil
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
		})
	}
	wg.Wait()
	return readings
}

func newTaken(s config.Sensor, device string, r sensors.Reading, took time.Duration) taken {
	t := taken{
		Sensor: s.Name, Type: s.Type, Device: device, Time: r.At.Wall, Quality: string(r.Quality), Reason: r.Reason,
		LatencyMillis: float64(took.Microseconds()) / 1000,
	}
	if len(r.Samples) > 0 {
		t.Values = map[string]float64{}
	}
	for _, v := range r.Samples {
		t.Values[v.Name] = v.Value
		t.order = append(t.order, v.Name)
	}
	return t
}

func printReadings(w io.Writer, readings []taken, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		for _, t := range readings {
			if err := enc.Encode(t); err != nil {
				return err
			}
		}
		return nil
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range readings {
		device := t.Device
		if device == "" {
			device = t.Type
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%.1f ms\n", t.Sensor, device, t.Quality, t.LatencyMillis)
		if t.Reason != "" {
			fmt.Fprintf(tab, "  %s\n", t.Reason)
		}
		for _, name := range t.order {
			fmt.Fprintf(tab, "  %s\t%s\n", name, strconv.FormatFloat(t.Values[name], 'f', -1, 64))
		}
	}
	if len(readings) == 0 {
		fmt.Fprintln(tab, "no sensors configured")
	}
	return tab.Flush()
}
