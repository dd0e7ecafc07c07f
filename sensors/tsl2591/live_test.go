package tsl2591

import (
	"os"
	"testing"

	"iotagent/sensors"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_TSL2591 names.
func TestLive(t *testing.T) {
	bus := os.Getenv("IOTAGENT_LIVE_TSL2591")
	if bus == "" {
		t.Skip("needs a TSL2591: set IOTAGENT_LIVE_TSL2591 to its bus")
	}
	hw := sensors.NewHardware("/", nil)
	c := Driver().New().(*Config)
	c.Bus, c.Raw = bus, true
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
