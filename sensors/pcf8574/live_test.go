package pcf8574

import (
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_PCF8574 names.
func TestLive(t *testing.T) {
	at := func(address int) func(bus string) sensors.Config {
		return func(bus string) sensors.Config {
			c := Driver().New().(*Config)
			c.Bus, c.Address = bus, address
			return c
		}
	}
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_PCF8574", Needs: "a PCF8574 at 0x20: set IOTAGENT_LIVE_PCF8574 to its bus",
		Config: at(0x20), Elsewhere: at(0x27),
	})
}
