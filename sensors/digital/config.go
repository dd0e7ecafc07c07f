package digital

import (
	"context"
	_ "embed" // for the sample configuration
	"fmt"
	"time"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "digital",
		Doc:    "a GPIO input: level, and edges as alarms",
		Sample: sample,
		New: func() sensors.Config {
			return &Config{Debounce: quantity.Duration{Duration: 20 * time.Millisecond}, Edges: "none", MaxEvents: 60}
		},
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Pin is the line: "GPIO17", "P1_11", "gpiochip0:17" or a line's label.
	Pin string `toml:"pin"`
	// Bias holds the line when nothing drives it: "none", "pull-up" or "pull-down". "", the default, leaves it as it is.
	Bias sensors.Bias `toml:"bias"`
	// ActiveLow makes a low line active.
	ActiveLow bool `toml:"active_low"`
	// Debounce is how long a level has to last until it counts. Default 20 ms, at most 10 s, 0 for none.
	Debounce quantity.Duration `toml:"debounce"`
	// Edges are those that become alarms: "none" (default), "rising" (becomes active), "falling" or "both".
	Edges string `toml:"edges"`
	// MaxEvents is how many edges of a minute become alarms. Default 60, 1 to 6000.
	MaxEvents int `toml:"max_events_per_minute"`
}

var (
	_ sensors.Watching = (*Config)(nil)
	_ sensors.Placed   = (*Config)(nil)
)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	sensors.CheckInput(c.Pin, c.Bias, c.Debounce, bad)
	switch c.Edges {
	case "none", "rising", "falling", "both":
	default:
		bad("edges", fmt.Sprintf(`want "none", "rising", "falling" or "both", got %q`, c.Edges))
	}
	if c.MaxEvents < 1 || c.MaxEvents > 6000 {
		bad("max_events_per_minute", fmt.Sprintf("want 1 to 6000, got %d", c.MaxEvents))
	}
}

// Place says which line it is.
func (c *Config) Place() sensors.Place { return sensors.Place{Line: c.Pin} }

// Watches reports whether edges are alarms.
func (c *Config) Watches() bool { return c.Edges != "none" }

// Open takes the line.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("digital: %w", err)
	}
	in, err := hw.Input(c.Pin, sensors.InputOptions{
		Consumer: "iotagent digital", Bias: c.Bias, ActiveLow: c.ActiveLow, Debounce: c.Debounce.Duration,
		Rising:  c.Edges == "rising" || c.Edges == "both",
		Falling: c.Edges == "falling" || c.Edges == "both",
	})
	if err != nil {
		return nil, fmt.Errorf("digital: %w", err)
	}
	return open(in, c), nil
}
