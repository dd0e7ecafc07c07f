package scd4x

import (
	"os"
	"testing"

	"iotagent/sensors"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_SCD4X names.
func TestLive(t *testing.T) {
	bus := os.Getenv("IOTAGENT_LIVE_SCD4X")
	if bus == "" {
		t.Skip("needs an SCD40, SCD41 or SCD43: set IOTAGENT_LIVE_SCD4X to its bus")
	}
	hw := sensors.NewHardware("/", nil)
	c := Driver().New().(*Config)
	c.Bus = bus
	s, err := c.Open(t.Context(), hw)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
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
