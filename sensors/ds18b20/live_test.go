package ds18b20

import (
	"os"
	"testing"

	"iotagent/sensors"
)

// TestLive reads a real sensor through the kernel, the one that IOTAGENT_LIVE_DS18B20 names, or the only one for "any".
func TestLive(t *testing.T) {
	id := os.Getenv("IOTAGENT_LIVE_DS18B20")
	if id == "" {
		t.Skip(`needs a DS18B20: set IOTAGENT_LIVE_DS18B20 to its id, or "any"`)
	}
	c := &Config{}
	if id != "any" {
		c.ID = id
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
