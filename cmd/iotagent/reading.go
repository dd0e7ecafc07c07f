package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"iotagent/config"
	"iotagent/sensors"
)

// taken is one reading for a person or a script. docs/formats.md shows its JSON.
type taken struct {
	Sensor        string             `json:"sensor"`
	Type          string             `json:"type"`
	Device        string             `json:"device,omitempty"`
	Time          time.Time          `json:"time"`
	Quality       string             `json:"quality"`
	Reason        string             `json:"reason,omitempty"`
	Values        map[string]float64 `json:"values,omitempty"`
	Alarm         bool               `json:"alarm,omitempty"`
	LatencyMillis float64            `json:"latency_ms"`
	order         []string
	unseen        []string // what the configuration names and the reading does not have
}

func newTaken(s config.Sensor, device string, r sensors.Reading, took time.Duration) taken {
	t := taken{
		Sensor: s.Name, Type: s.Type, Device: device, Time: r.At.Wall, Quality: string(r.Quality), Reason: r.Reason,
		Alarm: r.Alarm, LatencyMillis: float64(took.Microseconds()) / 1000,
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
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%.1f ms\n", t.Sensor, device, t.Quality, t.Time.Format(time.TimeOnly), t.LatencyMillis)
		if t.Reason != "" {
			fmt.Fprintf(tab, "  %s\n", t.Reason)
		}
		for _, name := range t.order {
			fmt.Fprintf(tab, "  %s\t%s\n", name, withUnit(name, t.Values[name]))
		}
	}
	if len(readings) == 0 {
		fmt.Fprintln(tab, "no sensors configured")
	}
	return tab.Flush()
}

// line is the reading in one line, for a person who watches.
func (t *taken) line() string {
	words := []string{t.Time.Format(time.TimeOnly), t.Sensor}
	if t.Alarm {
		words = append(words, "ALARM")
	}
	for _, name := range t.order {
		quantity, _ := splitUnit(name)
		words = append(words, quantity+" "+withUnit(name, t.Values[name]))
	}
	if t.Quality != string(sensors.Good) {
		words = append(words, t.Quality)
	}
	if t.Reason != "" {
		words = append(words, t.Reason)
	}
	return strings.Join(words, "  ") + fmt.Sprintf("  (%.1f ms)", t.LatencyMillis)
}
