package main

import (
	"fmt"
	"slices"
	"time"

	"iotagent/agent"
	"iotagent/config"
	"iotagent/outbox"
	"iotagent/sensors"

	"iotagent/internal/clock"
)

// typicalReading is the size of one with three values, where no reading was taken to measure.
const typicalReading = 160

// costADay estimates what the configuration costs at the hub, by the sizes of the readings that were taken; none are needed.
func costADay(f *config.File, readings []taken) agent.Metering {
	measured := map[string]int{}
	for _, t := range readings {
		if t.Quality != string(sensors.Failed) {
			if s := sensorOf(f, t.Sensor); s != nil {
				measured[t.Sensor] = t.bytes(agent.Format(f.Telemetry.Format), s)
			}
		}
	}
	var loads []agent.Load
	for i := range f.Sensors {
		s := &f.Sensors[i]
		lane, err := agent.ParseLane(s.Lane)
		if err != nil { // the configuration has ruled it out
			lane = outbox.Normal
		}
		size, known := measured[s.Name]
		if !known {
			size = guessedBytes(agent.Format(f.Telemetry.Format), s)
		}
		loads = append(loads, agent.Load{Lane: lane, Interval: max(s.Interval.Duration, s.Window.Duration), Bytes: size})
	}
	return agent.CostADay(loads, packOptions(f))
}

// atMost reports whether fewer readings may be sent than are taken, or put into windows: deadbands leave some out, nobody knows how many.
func atMost(f *config.File) bool {
	return slices.ContainsFunc(f.Sensors, func(s config.Sensor) bool { return s.Heartbeat.Duration > 0 || len(s.Deadband) > 0 })
}

func sensorOf(f *config.File, name string) *config.Sensor {
	for i := range f.Sensors {
		if f.Sensors[i].Name == name {
			return &f.Sensors[i]
		}
	}
	return nil
}

// guessedBytes is how many a reading takes of which nothing was measured.
func guessedBytes(format agent.Format, s *config.Sensor) int {
	r := sensors.Reading{Sensor: s.Name, At: clock.Stamp{Trusted: true}, Quality: sensors.Good}
	for _, name := range []string{"temperature_celsius", "pressure_pascals", "humidity_percent"} {
		r.Samples = append(r.Samples, sensors.Sample{Name: name, Value: 100653.25})
	}
	plain := agent.ReadingBytes(format, &r)
	s.Complete(&r)
	return typicalReading + agent.ReadingBytes(format, &r) - plain
}

// bytes is how many a reading of the sensor takes in a message of that format, by this one.
func (t *taken) bytes(format agent.Format, s *config.Sensor) int {
	r := sensors.Reading{Sensor: t.Sensor, At: clock.Stamp{Wall: t.Time, Trusted: true}, Quality: sensors.Quality(t.Quality), Reason: t.Reason}
	for name, v := range t.Values {
		r.Samples = append(r.Samples, sensors.Sample{Name: name, Value: v})
	}
	s.Complete(&r)
	return agent.ReadingBytes(format, &r)
}

// sealedAfter is how long a reading waits at most until its message is sealed.
func sealedAfter(f *config.File) time.Duration {
	return min(f.Telemetry.FlushInterval.Duration, f.Outbox.MaxLoss.Duration/2)
}

func packOptions(f *config.File) agent.PackOptions {
	return agent.PackOptions{
		MaxMessageBytes: f.Telemetry.MaxMessageBytes, FlushInterval: f.Telemetry.FlushInterval.Duration, MaxLoss: f.Outbox.MaxLoss.Duration,
		Format: agent.Format(f.Telemetry.Format),
	}
}

func (r *checked) cost() string {
	m := agent.Metering{Messages: uint64(r.MessagesADay), Metered: uint64(r.MeteredADay), Bytes: uint64(r.BytesADay)}
	about := "about"
	if r.AtMost {
		about = "at most"
	}
	return fmt.Sprintf(about+" %d messages a day, which the hub meters as %d of 4 KiB each, %.0f%% full", m.Messages, m.Metered, 100*m.Fill())
}
