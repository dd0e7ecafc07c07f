package agent_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"iotagent/agent"
	"iotagent/outbox"
	"iotagent/sensors"
)

func TestCostADay(t *testing.T) {
	const s, h = time.Second, time.Hour
	load := func(lane outbox.Lane, every time.Duration) agent.Load {
		return agent.Load{Lane: lane, Interval: every, Bytes: 100}
	}
	pack := func(flush, loss time.Duration) agent.PackOptions {
		return agent.PackOptions{FlushInterval: flush, MaxLoss: loss}
	}
	rows := map[string]struct {
		loads             []agent.Load
		o                 agent.PackOptions
		messages, metered uint64
	}{
		"no sensors":               {nil, pack(5*s, 10*s), 0, 0},
		"one flush holds many":     {[]agent.Load{load(1, s), load(1, 2*s)}, pack(5*s, 10*s), 17280, 17280},
		"slower than the flush":    {[]agent.Load{load(1, 60*s)}, pack(5*s, 10*s), 1440, 1440},
		"two lanes":                {[]agent.Load{load(1, 60*s), load(2, h)}, pack(5*s, 10*s), 1464, 1464},
		"max_loss bounds the wait": {[]agent.Load{load(1, s)}, pack(60*s, 10*s), 17280, 17280},
		"every reading alone":      {[]agent.Load{load(1, s), load(1, s)}, pack(60*s, 0), 172800, 172800},
		"alarms are alone":         {[]agent.Load{load(0, s), load(1, s)}, pack(5*s, 10*s), 86400 + 17280, 86400 + 17280},
		"larger than a unit":       {[]agent.Load{{Lane: 1, Interval: s, Bytes: 5000}}, pack(5*s, 10*s), 86400, 2 * 86400},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			if got := agent.CostADay(row.loads, row.o); got.Messages != row.messages || got.Metered != row.metered {
				t.Errorf("got %+v, want %d and %d", got, row.messages, row.metered)
			}
		})
	}
}

// What is estimated is what the packer makes of it.
func TestCostADayIsWhatIsPacked(t *testing.T) {
	for _, every := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second, 7 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			o := agent.PackOptions{MaxLoss: 10 * time.Second}
			b := newPackerBed(t, o)
			r := sensors.Reading{Sensor: "boiler", Quality: sensors.Good, Samples: []sensors.Sample{{Name: "temperature_celsius", Value: 21.53}, {Name: "pressure_pascals", Value: 100653.5}}}
			const minutes = 6
			for range minutes * time.Minute / every {
				r.At = b.clock.Stamp()
				b.Emit(outbox.Normal, r)
				time.Sleep(every)
			}
			b.stop()
			got := meterAll(t, b.disk.Memory)
			want := agent.CostADay([]agent.Load{{Lane: outbox.Normal, Interval: every, Bytes: agent.ReadingBytes(agent.FormatJSON, &r)}}, o)
			for _, f := range [][2]uint64{{got.Messages, want.Messages}, {got.Metered, want.Metered}, {got.Bytes, want.Bytes}} {
				if ratio := float64(f[0]) * 24 * 60 / minutes / float64(f[1]); math.Abs(ratio-1) > 0.2 {
					t.Errorf("a reading every %v: packed %+v in %d minutes, estimated %+v a day", every, got, minutes, want)
				}
			}
		})
	}
}
