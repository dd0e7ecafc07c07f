package max31855

import (
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the SPI port that IOTAGENT_LIVE_MAX31855 names.
func TestLive(t *testing.T) {
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_MAX31855", Needs: "a MAX31855 with a thermocouple of kind K: set IOTAGENT_LIVE_MAX31855 to its SPI port",
		Config: func(port string) sensors.Config {
			c := Driver().New().(*Config)
			c.Port = port
			return c
		},
	})
}
