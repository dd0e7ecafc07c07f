package scd4x

import (
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_SCD4X names.
func TestLive(t *testing.T) {
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_SCD4X", Needs: "an SCD40, SCD41 or SCD43: set IOTAGENT_LIVE_SCD4X to its bus", Readings: 3,
		Config: func(bus string) sensors.Config {
			c := Driver().New().(*Config)
			c.Bus = bus
			return c
		},
	})
}
