package modbus

import (
	"os"
	"testing"

	"iotagent/sensors"
)

// TestLive reads holding register 0 of unit 1 of the server that IOTAGENT_LIVE_MODBUS names, "192.168.1.20:502".
func TestLive(t *testing.T) {
	host := os.Getenv("IOTAGENT_LIVE_MODBUS")
	if host == "" {
		t.Skip("needs a Modbus TCP server: set IOTAGENT_LIVE_MODBUS to its address")
	}
	c := unitWith(holding("register_count", 0))
	c.Host = host
	s := open(t, c, sensors.NewHardware("/", nil))
	samples, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %v", s, samples)
	if err := s.Halt(); err != nil {
		t.Error(err)
	}
}
