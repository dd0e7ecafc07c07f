package mcp9808

import (
	"testing"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_MCP9808 names.
func TestLive(t *testing.T) {
	sensortest.Live(t, sensortest.LiveCase{
		Env: "IOTAGENT_LIVE_MCP9808", Needs: "an MCP9808 at 0x18: set IOTAGENT_LIVE_MCP9808 to its bus",
		Config: func(bus string) sensors.Config {
			c := Driver().New().(*Config)
			c.Bus = bus
			return c
		},
	})
}
