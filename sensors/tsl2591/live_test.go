package tsl2591

import (
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_TSL2591 names.
func TestLive(t *testing.T) {
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_TSL2591", Needs: "a TSL2591: set IOTAGENT_LIVE_TSL2591 to its bus",
		Config: func(bus string) sensors.Config {
			c := Driver().New().(*Config)
			c.Bus, c.Raw = bus, true
			return c
		},
	})
}
