package agent_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/agent"
	"iotagent/internal/clock"
	"iotagent/outbox"
	"iotagent/outbox/outboxtest"
	"iotagent/sensors"
)

// mixed is a reading as a gateway takes them: climate sensors, energy meters, thermometers, counters, and now and then one that fails.
func mixed(r *rand.Rand, b *packerBed) sensors.Reading {
	v := sensors.Reading{At: b.clock.Stamp(), Quality: sensors.Good}
	sample := func(name string, of, digits float64) {
		v.Samples = append(v.Samples, sensors.Sample{Name: name, Value: float64(int(r.Float64()*of*digits)) / digits})
	}
	switch r.IntN(10) {
	case 0, 1, 2:
		v.Sensor = fmt.Sprintf("hall-%d-climate", r.IntN(4))
		sample("temperature_celsius", 40, 100)
		sample("pressure_pascals", 1e5, 10)
		sample("relative_humidity_percent", 100, 10)
	case 3, 4:
		v.Sensor = fmt.Sprintf("press-%d-power", r.IntN(12))
		sample("bus_volts", 24, 1000)
		sample("current_amperes", 6, 10000)
		sample("power_watts", 140, 1000)
	case 5, 6, 7:
		v.Sensor = fmt.Sprintf("tank%d", r.IntN(8))
		sample("temperature_celsius", 90, 16)
	case 8:
		v.Sensor = "flow"
		sample("pulses_total", 1e7, 1)
	case 9:
		v.Sensor, v.Quality, v.Reason = "duct", sensors.Failed, "ds18b20@w1:28-0316a2797c21: read: checksum wrong, three times"
	}
	return v
}

// Under load nearly all of what the hub meters is used: each message is sealed when the next reading has no room in it.
func TestFillUnderLoad(t *testing.T) {
	rows := map[string]struct {
		rate    int // readings a second
		seconds int
		o       agent.PackOptions
		lane    outbox.Lane
	}{
		"what fills a message in a second":        {100, 20, agent.PackOptions{MaxLoss: 10 * time.Second}, outbox.Normal},
		"thousands a second":                      {5000, 2, agent.PackOptions{MaxLoss: 10 * time.Second}, outbox.Normal},
		"bulk":                                    {500, 5, agent.PackOptions{MaxLoss: 10 * time.Second}, outbox.Bulk},
		"messages of several units":               {500, 5, agent.PackOptions{MaxLoss: 10 * time.Second, MaxMessageBytes: 16384}, outbox.Normal},
		"what fills one in most of the intervals": {30, 60, agent.PackOptions{MaxLoss: time.Minute, FlushInterval: 20 * time.Second}, outbox.Normal},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newPackerBed(t, row.o)
				r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same mix every time
				for range row.seconds * row.rate {
					b.Emit(row.lane, mixed(r, b))
					time.Sleep(time.Second / time.Duration(row.rate))
				}
				b.stop()
				m := meterAll(t, b.disk.Memory)
				t.Logf("%d messages metered as %d, %.1f %% full", m.Messages, m.Metered, 100*m.Fill())
				if m.Fill() < 0.9 || m.Messages < 5 {
					t.Errorf("%+v: %.1f %% full", m, 100*m.Fill())
				}
			})
		})
	}
}

// meterAll sends everything to nobody, and counts it as the hub would.
func meterAll(t *testing.T, q *outboxtest.Memory) agent.Metering {
	t.Helper()
	m := agent.NewMetered(clock.New(nil), "", slog.New(slog.DiscardHandler))
	for {
		es, err := q.Next(64, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(es) == 0 {
			_, total := m.Now()
			return total
		}
		for _, e := range es {
			msg, err := agent.MessageOf(e)
			if err != nil {
				t.Fatal(err)
			}
			m.Add(msg.Size())
		}
	}
}
