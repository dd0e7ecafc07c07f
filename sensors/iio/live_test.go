package iio

import (
	"os"
	"testing"

	"iotagent/sensors"
)

// TestLive reads a real device through the kernel, the one that IOTAGENT_LIVE_IIO names, or the only one for "any".
func TestLive(t *testing.T) {
	chip := os.Getenv("IOTAGENT_LIVE_IIO")
	if chip == "" {
		t.Skip(`needs an IIO device: set IOTAGENT_LIVE_IIO to its name, or "any"`)
	}
	c := &Config{}
	if chip != "any" {
		c.Chip = chip
	}
	s, err := c.Open(t.Context(), sensors.NewHardware("/", nil))
	if err != nil {
		t.Fatal(err)
	}
	samples, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %v", s, samples)
}
