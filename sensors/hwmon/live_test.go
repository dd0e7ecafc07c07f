package hwmon

import (
	"os"
	"testing"

	"iotagent/sensors"
)

// TestLive reads a real chip through the kernel, the one that IOTAGENT_LIVE_HWMON names, or the only one for "any".
func TestLive(t *testing.T) {
	chip := os.Getenv("IOTAGENT_LIVE_HWMON")
	if chip == "" {
		t.Skip(`needs a hardware monitor: set IOTAGENT_LIVE_HWMON to its name, or "any"`)
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
