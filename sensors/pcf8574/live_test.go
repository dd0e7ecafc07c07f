package pcf8574

import (
	"errors"
	"os"
	"testing"

	"iotagent/sensors"
)

// TestLive reads a real chip, on the bus that IOTAGENT_LIVE_PCF8574 names.
func TestLive(t *testing.T) {
	bus := os.Getenv("IOTAGENT_LIVE_PCF8574")
	if bus == "" {
		t.Skip("needs a PCF8574 at 0x20: set IOTAGENT_LIVE_PCF8574 to its bus")
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
	c.Address = 0x27
	if _, err := c.Open(t.Context(), hw); !errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("Open at an address without a chip: %v, want ErrAbsent", err)
	}
	if err := hw.Close(); err != nil {
		t.Error(err)
	}
}
