package mcp9808

import (
	"os"
	"testing"

	"iotagent/sensors"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_MCP9808 names.
func TestLive(t *testing.T) {
	bus := os.Getenv("IOTAGENT_LIVE_MCP9808")
	if bus == "" {
		t.Skip("needs an MCP9808 at 0x18: set IOTAGENT_LIVE_MCP9808 to its bus")
	}
	hw := sensors.NewHardware("/", nil)
	c := Driver().New().(*Config)
	c.Bus = bus
	s, err := c.Open(t.Context(), hw)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		samples, err := s.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", s, samples)
	}
	if err := s.Halt(); err != nil {
		t.Error(err)
	}
	if err := hw.Close(); err != nil {
		t.Error(err)
	}
}
