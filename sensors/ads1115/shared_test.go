package ads1115

import (
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"iotagent/sensors"
)

// chip is an ADS1115 that takes its time. Input An is at n + 0.5 V, at a range of 4.096 V. It is used by the goroutine that owns the bus.
type chip struct {
	config, value uint16
	done          time.Time
}

func (c *chip) String() string                  { return "chip" }
func (c *chip) SetSpeed(physic.Frequency) error { return nil }
func (c *chip) Close() error                    { return nil }

func (c *chip) Tx(_ uint16, w, r []byte) error {
	if idleNow := !time.Now().Before(c.done); idleNow && c.config&idle == 0 {
		c.config |= idle
		c.value = uint16((float64(c.config>>12&3) + 0.5) / 4.096 * 0x8000)
	}
	if len(w) == 3 {
		word := binary.BigEndian.Uint16(w[1:])
		c.config = word | idle
		if word&start != 0 {
			c.config, c.done = word&^idle, time.Now().Add(8*time.Millisecond)
		}
		return nil
	}
	if len(w) != 1 || len(r) != 2 {
		return unix.EIO
	}
	binary.BigEndian.PutUint16(r, [...]uint16{c.value, c.config, lowAfterReset, highAfterReset}[w[0]])
	return nil
}

// Several sensors that each read one input of the same chip, at the same time, each get their own.
func TestSensorsThatShareAChip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hw := sensors.NewHardware(t.TempDir(), &sensors.HardwareOptions{OpenI2C: func(int) (i2c.BusCloser, error) { return &chip{config: idle}, nil }})
		var wg sync.WaitGroup
		for i, input := range []string{"A0", "A1", "A2", "A3"} {
			wg.Go(func() {
				cfg := &Config{Bus: "1", Address: 0x48, SamplesPerSecond: 128, Channels: []Channel{{Input: input, RangeVolts: 4.096}}}
				s, err := cfg.Open(t.Context(), hw)
				if err != nil {
					t.Error(err)
					return
				}
				for range 20 {
					got, err := s.Read(t.Context())
					if want := float64(i) + 0.5; err != nil || got[0].Value < want-0.001 || got[0].Value > want+0.001 {
						t.Errorf("%s: %v, %v; want %g V", input, got, err, want)
					}
				}
			})
		}
		wg.Wait()
		if err := hw.Close(); err != nil {
			t.Error(err)
		}
	})
}
