package counter

import (
	"context"
	_ "embed" // for the sample configuration
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

//go:embed sample.toml
var sample string

// The names of the samples, where the configuration gives none, and the one it cannot change.
const (
	totalName     = "pulses_count"
	rateName      = "rate_hertz"
	uncertainName = "total_uncertain"
)

// Driver describes this driver.
func Driver() sensors.Driver {
	return sensors.Driver{
		Type:   "counter",
		Doc:    "pulses of a GPIO input: rate, and a total that survives restarts",
		Sample: sample,
		New: func() sensors.Config {
			return &Config{
				Debounce: quantity.Duration{Duration: 5 * time.Millisecond}, Edge: "rising", Scale: 1,
				TotalName: totalName, RateName: rateName, SaveInterval: quantity.Seconds(300),
			}
		},
	}
}

// Config is the driver's part of a [[sensor]] table.
type Config struct {
	// Pin is the line: "GPIO17", "P1_11", "gpiochip0:17" or a line's label. The total is kept under this name.
	Pin string `toml:"pin"`
	// Bias holds the line when nothing drives it: "none", "pull-up" or "pull-down". "", the default, leaves it as it is.
	Bias sensors.Bias `toml:"bias"`
	// ActiveLow makes a low line active.
	ActiveLow bool `toml:"active_low"`
	// Debounce is how long a level has to last until it counts. Default 5 ms, at most 10 s, 0 for none.
	Debounce quantity.Duration `toml:"debounce"`
	// Edge is what is counted: "rising" (becomes active, the default) or "falling".
	Edge string `toml:"edge"`
	// Scale is what one pulse is worth. Default 1.
	Scale float64 `toml:"scale"`
	// TotalName and RateName name the samples, unit included; they must be given when scale is not 1. Defaults pulses_count, rate_hertz.
	TotalName string `toml:"total_name"`
	RateName  string `toml:"rate_name"`
	// Initial is the total before the first pulse. Default 0.
	Initial float64 `toml:"initial"`
	// SaveInterval is how often the total is written while pulses come. Default 5 min, 10 s to 24 h.
	SaveInterval quantity.Duration `toml:"save_interval"`
}

var (
	_ sensors.Watching = (*Config)(nil)
	_ sensors.Placed   = (*Config)(nil)
)

// Validate checks the keys.
func (c *Config) Validate(bad func(key, msg string)) {
	sensors.CheckInput(c.Pin, c.Bias, c.Debounce, bad)
	if c.Edge != "rising" && c.Edge != "falling" {
		bad("edge", fmt.Sprintf(`want "rising" or "falling", got %q`, c.Edge))
	}
	scaled := c.Scale != 1
	if !(c.Scale >= 1e-9 && c.Scale <= 1e9) {
		scaled = false
		bad("scale", fmt.Sprintf("want what one pulse is worth, 1e-9 to 1e9, got %g", c.Scale))
	}
	if !(math.Abs(c.Initial) <= 1e12) {
		bad("initial", fmt.Sprintf("want the total before the first pulse, got %g", c.Initial))
	}
	if d := c.SaveInterval; d.Problem() == "" && (d.Duration < 10*time.Second || d.Duration > 24*time.Hour) {
		bad("save_interval", fmt.Sprintf("want 10s to 24h, got %s", d))
	}
	c.validateNames(scaled, bad)
}

func (c *Config) validateNames(scaled bool, bad func(key, msg string)) {
	check := func(key, name, pulses string) {
		switch {
		case !regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`).MatchString(name) || name == uncertainName:
			bad(key, fmt.Sprintf("want a name in lower case with its unit, such as \"water_cubic_meters\", got %q", name))
		case scaled && name == pulses:
			bad(key, fmt.Sprintf("must be given with scale = %g: the values are no longer %s", c.Scale, pulses))
		}
	}
	check("total_name", c.TotalName, totalName)
	check("rate_name", c.RateName, rateName)
	if c.TotalName == c.RateName {
		bad("rate_name", fmt.Sprintf("is %q, as total_name is", c.RateName))
	}
}

// Place says which line it is.
func (c *Config) Place() sensors.Place { return sensors.Place{Line: c.Pin} }

// Watches is true: pulses are counted while the line is held.
func (c *Config) Watches() bool { return true }

// Open takes the line, and then reads the total: who does not hold the line has no business with it.
func (c *Config) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, fmt.Errorf("counter: %w", err)
	}
	in, err := hw.Input(c.Pin, sensors.InputOptions{
		Consumer: "iotagent counter", Bias: c.Bias, ActiveLow: c.ActiveLow, Debounce: c.Debounce.Duration,
		Rising: c.Edge == "rising", Falling: c.Edge == "falling",
	})
	if err != nil {
		return nil, fmt.Errorf("counter: %w", err)
	}
	s, damage, err := openStore(hw.StateDir(), c.Pin)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("counter@%s: total: %w", in, err), in.Close())
	}
	return open(in, c, s, damage), nil
}
