package sht3x

import (
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_SHT3X names.
func TestLive(t *testing.T) {
	at := func(address int) func(bus string) sensors.Config {
		return func(bus string) sensors.Config {
			c := Driver().New().(*Config)
			c.Bus, c.Address = bus, address
			return c
		}
	}
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_SHT3X", Needs: "an SHT3x at 0x44: set IOTAGENT_LIVE_SHT3X to its bus",
		Config: at(0x44), Elsewhere: at(0x45),
	})
}
