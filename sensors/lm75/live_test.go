package lm75

import (
	"os"
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_LM75 names; IOTAGENT_LIVE_LM75_CHIP says which one.
func TestLive(t *testing.T) {
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_LM75", Needs: "an LM75 or relative at 0x48: set IOTAGENT_LIVE_LM75 to its bus",
		Config: func(bus string) sensors.Config {
			c := Driver().New().(*Config)
			c.Bus = bus
			if chip := os.Getenv("IOTAGENT_LIVE_LM75_CHIP"); chip != "" {
				c.Chip = chip
			}
			return c
		},
	})
}
