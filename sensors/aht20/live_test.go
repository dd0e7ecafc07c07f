package aht20

import (
	"os"
	"testing"
	"time"

	"iotagent/sensors"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_AHT20 names.
func TestLive(t *testing.T) {
	bus := os.Getenv("IOTAGENT_LIVE_AHT20")
	if bus == "" {
		t.Skip("needs an AHT20 at 0x38: set IOTAGENT_LIVE_AHT20 to its bus")
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
		if err := sensors.Wait(t.Context(), 2*time.Second); err != nil { // or it warms itself
			t.Fatal(err)
		}
	}
	if err := s.Halt(); err != nil {
		t.Error(err)
	}
	if err := hw.Close(); err != nil {
		t.Error(err)
	}
}
