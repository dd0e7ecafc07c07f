package main

import (
	"fmt"
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
			measured[t.Sensor] = t.bytes(agent.Format(f.Telemetry.Format))
		}
	}
	var loads []agent.Load
	for _, s := range f.Sensors {
		lane, err := agent.ParseLane(s.Lane)
		if err != nil { // the configuration has ruled it out
			lane = outbox.Normal
		}
		size, known := measured[s.Name]
		if !known {
			size = typicalReading
		}
		loads = append(loads, agent.Load{Lane: lane, Interval: s.Interval.Duration, Bytes: size})
	}
	return agent.CostADay(loads, packOptions(f))
}

// bytes is how many the reading takes in a message of that format.
func (t *taken) bytes(format agent.Format) int {
	r := sensors.Reading{Sensor: t.Sensor, At: clock.Stamp{Wall: t.Time, Trusted: true}, Quality: sensors.Quality(t.Quality), Reason: t.Reason}
	for name, v := range t.Values {
		r.Samples = append(r.Samples, sensors.Sample{Name: name, Value: v})
	}
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
	return fmt.Sprintf("about %d messages a day, which the hub meters as %d of 4 KiB each, %.0f%% full", m.Messages, m.Metered, 100*m.Fill())
}
