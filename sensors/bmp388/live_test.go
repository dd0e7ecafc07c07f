package bmp388

import (
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_BMP388 names.
func TestLive(t *testing.T) {
	at := func(address int) func(bus string) sensors.Config {
		return func(bus string) sensors.Config {
			c := Driver().New().(*Config)
			c.Bus, c.Address = bus, address
			return c
		}
	}
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_BMP388", Needs: "a BMP388 or BMP390 at 0x77: set IOTAGENT_LIVE_BMP388 to its bus",
		Config: at(0x77), Elsewhere: at(0x76),
	})
}
