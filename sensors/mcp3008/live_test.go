package mcp3008

import (
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the SPI port that IOTAGENT_LIVE_MCP3008 names.
func TestLive(t *testing.T) {
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_MCP3008", Needs: "an MCP3008: set IOTAGENT_LIVE_MCP3008 to its SPI port",
		Config: func(port string) sensors.Config {
			c := Driver().New().(*Config)
			c.Port = port
			return c
		},
	})
}
