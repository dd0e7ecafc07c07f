package max31865

import (
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the SPI port that IOTAGENT_LIVE_MAX31865 names.
func TestLive(t *testing.T) {
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_MAX31865", Needs: "a MAX31865 with a PT100 on 3 wires: set IOTAGENT_LIVE_MAX31865 to its SPI port",
		Config: func(port string) sensors.Config {
			c := Driver().New().(*Config)
			c.Port = port
			return c
		},
	})
}
