package counter

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"iotagent/internal/quantity"
	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// replugged is a machine whose line the test exchanges; nil is none.
type replugged struct {
	sensortest.Machine
	line atomic.Pointer[sensortest.Line]
}

func (r *replugged) Input(name string, o sensors.InputOptions) (sensors.Input, error) {
	var m sensortest.Machine
	if l := r.line.Load(); l != nil {
		m.Lines = map[string]sensors.Input{name: l}
	}
	return m.Input(name, o)
}

// plug puts a new line in, and waits until the counter may have found it.
func (r *replugged) plug() *sensortest.Line {
	l := sensortest.NewLine("GPIO27 (gpiochip0:27)")
	r.line.Store(l)
	time.Sleep(2 * time.Minute)
	return l
}

// A flood, the chip gone for a while and a restart, as the agent sees them with a reading an hour: every pulse that came while there was a chip is in the total.
func TestFloodUnpluggedAndRestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		hw := &replugged{Machine: sensortest.Machine{State: dir}}
		common := sensors.Common{Name: "water", Type: "counter", Interval: quantity.Seconds(3600)}
		var totals, alarms []float64 // of good readings; of doubts
		failed := 0
		run := func(until func()) {
			ctx, stop := context.WithCancel(t.Context())
			go func() {
				until()
				stop()
			}()
			err := sensors.NewSampler(common, config(nil), hw, nil).Run(ctx, func(r sensors.Reading) {
				switch {
				case r.Alarm:
					alarms = append(alarms, r.Samples[1].Value)
				case r.Quality == sensors.Good:
					totals = append(totals, r.Samples[0].Value)
				default:
					failed++
				}
			})
			if err != nil {
				t.Error(err)
			}
		}
		run(func() {
			time.Sleep(time.Minute)
			l := hw.plug() // the chip comes late
			flood(l, 3000)
			l.Lose(500) // more than the kernel holds
			flood(l, 1)
			time.Sleep(time.Second)
			hw.line.Store(nil)
			l.Unplug()
			time.Sleep(10 * time.Minute)
			flood(hw.plug(), 100)
		})
		hw.line.Store(sensortest.NewLine("GPIO27 (gpiochip0:27)"))
		run(func() { time.Sleep(90 * time.Minute) })
		if d := cmp.Diff([]float64{0, 3501, 3601, 3601}, totals); d != "" {
			t.Errorf("totals: %s", d)
		}
		if d := cmp.Diff([]float64{1}, alarms); d != "" || failed != 2 {
			t.Errorf("doubts: %s; %d failures were told, want that at the start and that of the chip gone", d, failed)
		}
		if d := cmp.Diff(state{Pulses: 3601, Clean: true, Uncertain: 1}, onDisk(t, dir)); d != "" {
			t.Error(d)
		}
	})
}

func flood(l *sensortest.Line, pulses int) {
	for range pulses {
		l.Edge(true, time.Now())
	}
}
