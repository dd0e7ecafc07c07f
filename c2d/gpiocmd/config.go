package gpiocmd

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"

	"periph.io/x/conn/v3/gpio"

	"iotagent/c2d"
	"iotagent/internal/gpioline"
)

//go:embed sample.toml
var sample string

// Type returns the handler type "gpio".
func Type() c2d.Type {
	return c2d.Type{
		Name: "gpio", Doc: "drives one GPIO output, safe at start and at stop", Sample: sample,
		New: func() c2d.Config { return &Config{Safe: "low"} },
	}
}

var _ c2d.Placed = (*Config)(nil)

// Config is what a [[command]] table of type "gpio" may say.
type Config struct {
	// Pin is a line's name, a header pin, CHIP:LINE, or "sim".
	Pin string `toml:"pin"`
	// Safe is the level at start and at stop: "low" (default) or "high".
	Safe string `toml:"safe"`
	// Idempotent lets commands run before the time is known, and again when a power cut interrupted them. It suits outputs that get
	// levels only: a toggle or a pulse may then happen twice.
	Idempotent bool `toml:"idempotent"`
}

// simPin is the pin of machines without any.
const simPin = "sim"

// Line implements c2d.Placed. Simulated outputs are as many as are wanted.
func (c *Config) Line() string {
	if c.Pin == simPin {
		return ""
	}
	return c.Pin
}

// Validate implements c2d.Config.
func (c *Config) Validate(bad func(key, msg string)) {
	if err := gpioline.CheckName(c.Pin); err != nil {
		bad("pin", err.Error()+`; "sim" is a pin for machines without any`)
	}
	if _, err := parseLevel(c.Safe); err != nil {
		bad("safe", err.Error())
	}
}

// Open implements c2d.Config: the pin has its safe level from here on.
func (c *Config) Open(_ context.Context, env c2d.Env) (c2d.Handler, error) {
	safe, err := parseLevel(c.Safe)
	if err != nil {
		return nil, fmt.Errorf("safe: %w", err)
	}
	p, err := c.take(env.Root, "iotagent "+env.Name, safe)
	if err != nil {
		return nil, err
	}
	env.Logger.Info("output taken", "pin", p.String(), "level", levelName(safe))
	return &handler{pin: p, safe: safe, idempotent: c.Idempotent, log: env.Logger, level: safe}, nil
}

// SetSafe drives the pin to its safe level once and lets it go: for a stop hook, when the process that held it has died. It fails when
// somebody holds the line.
func (c *Config) SetSafe(context.Context) error {
	safe, err := parseLevel(c.Safe)
	if err != nil {
		return fmt.Errorf("safe: %w", err)
	}
	p, err := c.take("/", "iotagent stop hook", safe)
	if err != nil {
		return err
	}
	return p.Close()
}

// Warning says, for a person, when the line would not keep its safe level without a program that holds it. It is "" when it would,
// when that is not known, or when the line is not there.
func (c *Config) Warning() string {
	safe, err := parseLevel(c.Safe)
	if err != nil || c.Pin == simPin {
		return ""
	}
	line, err := gpioline.Find("/", c.Pin)
	if err != nil {
		return ""
	}
	idle, known := idleLevel(line)
	if !known || idle == safe {
		return ""
	}
	return fmt.Sprintf("safe is %q, but %s goes %s when nobody holds it (at boot, after a crash): choose another pin, or wire it the other way round",
		levelName(safe), c.Pin, levelName(idle))
}

func (c *Config) take(root, consumer string, first gpio.Level) (output, error) {
	if c.Pin == simPin {
		return &simOutput{}, nil
	}
	line, err := gpioline.Find(filepath.Clean(root), c.Pin)
	if errors.Is(err, gpioline.ErrUnknown) {
		return nil, fmt.Errorf(`%w; "sim" is a pin for machines without any`, err)
	}
	if err != nil {
		return nil, err
	}
	return takeLine(line, consumer, first)
}

func parseLevel(s string) (gpio.Level, error) {
	switch s {
	case "high":
		return gpio.High, nil
	case "low":
		return gpio.Low, nil
	}
	return gpio.Low, fmt.Errorf(`want "high" or "low", got %q`, s)
}

func levelName(l gpio.Level) string {
	if l == gpio.High {
		return "high"
	}
	return "low"
}
