package config

import (
	"context"
	"errors"

	"iotagent/c2d"
	"iotagent/internal/quantity"
	"iotagent/sensors"
)

// The fake types have every kind of field that a real one may have.

type fakeSensor struct{}

func (fakeSensor) Open(context.Context, sensors.Hardware) (sensors.Sensor, error) {
	return nil, errors.New("a fake")
}

type trim struct {
	Offset float64 `toml:"offset"`
	Gain   float64 `toml:"gain"`
}

type fakeBME struct {
	fakeSensor
	Bus     string            `toml:"bus"`
	Address uint8             `toml:"address"`
	Enabled bool              `toml:"enabled"`
	Gain    float32           `toml:"gain"`
	Settle  quantity.Duration `toml:"settle"`
	Trim    trim              `toml:"trim"`
	Limit   *int              `toml:"limit"`
}

func (c *fakeBME) Validate(bad func(key, msg string)) {
	if c.Address != 0x76 && c.Address != 0x77 {
		bad("address", "want 0x76 or 0x77")
	}
	if c.Bus == "" {
		bad("bus", "is missing")
	}
	if c.Trim.Offset > 100 {
		bad("trim.offset", "want at most 100")
	}
}

type fakeDS struct {
	fakeSensor
	ID     string `toml:"id"`
	hidden string
}

func (c *fakeDS) Validate(func(key, msg string)) { c.hidden = c.ID }

type fakeCommand struct{}

func (fakeCommand) Open(context.Context, c2d.Env) (c2d.Handler, error) {
	return nil, errors.New("a fake")
}

type fakeGPIO struct {
	fakeCommand
	Pin       string `toml:"pin"`
	Safe      string `toml:"safe"`
	ActiveLow bool   `toml:"active_low"`
}

func (c *fakeGPIO) Validate(bad func(key, msg string)) {
	if c.Pin == "" {
		bad("pin", "is missing")
	}
}

type fakeExec struct {
	fakeCommand
	Path   string            `toml:"path"`
	Args   []string          `toml:"args"`
	Env    map[string]string `toml:"env"`
	Output quantity.Bytes    `toml:"output"`
	Steps  []trim            `toml:"steps"`
}

func (c *fakeExec) Validate(func(key, msg string)) {}

func fakes() *Options {
	return &Options{
		Sensors: []sensors.Driver{
			{Type: "bme280", New: func() sensors.Config { return &fakeBME{Bus: "1", Address: 0x76, Enabled: true, Gain: 1} }},
			{Type: "ds18b20", New: func() sensors.Config { return &fakeDS{} }},
		},
		Commands: []c2d.Type{
			{Name: "gpio", New: func() c2d.Config { return &fakeGPIO{Safe: "low"} }},
			{Name: "exec", New: func() c2d.Config {
				return &fakeExec{Args: []string{"default"}, Output: quantity.Bytes{N: 4096}}
			}},
		},
		Getenv: func(string) string { return "" },
	}
}
