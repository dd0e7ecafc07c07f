package sht4x

import (
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_SHT4X names.
func TestLive(t *testing.T) {
	at := func(address int) func(bus string) sensors.Config {
		return func(bus string) sensors.Config {
			c := Driver().New().(*Config)
			c.Bus, c.Address = bus, address
			return c
		}
	}
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_SHT4X", Needs: "an SHT4x at 0x44: set IOTAGENT_LIVE_SHT4X to its bus",
		Config: at(0x44), Elsewhere: at(0x45),
	})
}
