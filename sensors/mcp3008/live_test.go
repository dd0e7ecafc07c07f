package mcp3008

import (
	"os"
	"testing"

	"iotagent/sensors"
)

// TestLive reads a real chip, on the SPI port that IOTAGENT_LIVE_MCP3008 names.
func TestLive(t *testing.T) {
	port := os.Getenv("IOTAGENT_LIVE_MCP3008")
	if port == "" {
		t.Skip("needs an MCP3008: set IOTAGENT_LIVE_MCP3008 to its SPI port")
	}
	hw := sensors.NewHardware("/", nil)
	c := Driver().New().(*Config)
	c.Port = port
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
