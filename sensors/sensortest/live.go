package sensortest

import (
	"errors"
	"os"
	"testing"

	"iotagent/sensors"
)

// LiveCase is a real sensor, for a machine that has one.
type LiveCase struct {
	// Env is the environment variable that says where the sensor is.
	Env string
	// Needs is what the test is skipped for when Env is not set: "a BME280 at 0x76: set IOTAGENT_LIVE_BME280 to its bus".
	Needs string
	// Config is the sensor that is there.
	Config func(where string) sensors.Config
	// Elsewhere is one that is not there; nil leaves that out.
	Elsewhere func(where string) sensors.Config
	// Readings is how many are taken; 0 means 10.
	Readings int
}

// Live reads a real sensor, and looks that one which is not there is told from it.
func Live(t *testing.T, c LiveCase) {
	t.Helper()
	where := os.Getenv(c.Env)
	if where == "" {
		t.Skip("needs " + c.Needs)
	}
	hw := sensors.NewHardware("/", nil)
	s, err := c.Config(where).Open(t.Context(), hw)
	if err != nil {
		t.Fatal(err)
	}
	if c.Readings == 0 {
		c.Readings = 10
	}
	for range c.Readings {
		samples, err := s.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", s, samples)
	}
	if err := s.Halt(); err != nil {
		t.Error(err)
	}
	if c.Elsewhere != nil {
		if _, err := c.Elsewhere(where).Open(t.Context(), hw); !errors.Is(err, sensors.ErrAbsent) {
			t.Errorf("Open where no chip is: %v, want ErrAbsent", err)
		}
	}
	if err := hw.Close(); err != nil {
		t.Error(err)
	}
}
