package lm75

import (
	"os"
	"testing"

	"iotagent/sensors"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_LM75 names; IOTAGENT_LIVE_LM75_CHIP says which one.
func TestLive(t *testing.T) {
	bus := os.Getenv("IOTAGENT_LIVE_LM75")
	if bus == "" {
		t.Skip("needs an LM75 or relative at 0x48: set IOTAGENT_LIVE_LM75 to its bus")
	}
	hw := sensors.NewHardware("/", nil)
	c := Driver().New().(*Config)
	c.Bus = bus
	if chip := os.Getenv("IOTAGENT_LIVE_LM75_CHIP"); chip != "" {
		c.Chip = chip
	}
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
