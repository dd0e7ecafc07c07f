package sensortest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"iotagent/sensors"
	"iotagent/sensors/sensortest"
)

// thermometer is a driver of a chip that has an identity and one value.
type thermometer struct {
	Port string `toml:"port"`
	dev  *sensors.SPIDev
}

func (c *thermometer) Validate(func(key, msg string)) {}

func (c *thermometer) Place() sensors.Place { return sensors.Place{SPI: c.Port} }

func (c *thermometer) Open(ctx context.Context, hw sensors.Hardware) (sensors.Sensor, error) {
	dev, err := sensors.OpenSPI(hw, c.Port, physic.MegaHertz, spi.Mode1)
	if err != nil {
		return nil, err
	}
	var r [2]byte
	if err := dev.Tx(ctx, []byte{0x0f, 0}, r[:]); err != nil {
		return nil, err
	}
	if r[1] != 0x55 {
		return nil, fmt.Errorf("identity 0x%02x: %w", r[1], sensors.ErrAbsent)
	}
	return &thermometer{Port: c.Port, dev: dev}, nil
}

func (c *thermometer) Read(ctx context.Context) ([]sensors.Sample, error) {
	if err := c.dev.Tx(ctx, []byte{0x80}, nil); err != nil {
		return nil, err
	}
	var r [2]byte
	if err := c.dev.Tx(ctx, []byte{0x01, 0}, r[:]); err != nil {
		return nil, err
	}
	return []sensors.Sample{{Name: "temperature_celsius", Value: float64(r[1])}}, nil
}

func (c *thermometer) Halt() error    { return c.dev.Write([]byte{0x00}) }
func (c *thermometer) String() string { return "thermometer@" + c.dev.String() }

func driver() sensors.Driver {
	return sensors.Driver{
		Type: "thermometer", Doc: "a fake", Sample: "[[sensor]]\nname = \"t\"\ntype = \"thermometer\"\nport = \"0.0\"\n",
		New: func() sensors.Config { return &thermometer{Port: "0.0"} },
	}
}

func conversation() []conntest.IO {
	return []conntest.IO{
		{W: []byte{0x0f, 0}, R: []byte{0xff, 0x55}},
		{W: []byte{0x80}},
		{W: []byte{0x01, 0}, R: []byte{0xff, 21}},
	}
}

func TestContractOfAnSPIDriver(t *testing.T) {
	sensortest.Run(t, sensortest.Case{Driver: driver(), SPIOps: conversation(), SPIMode: spi.Mode1})
}

// The port of a recorded conversation refuses a driver that would not reach the chip.
func TestPlaybackSPIChecksTheSettings(t *testing.T) {
	tests := map[string]struct {
		hz   physic.Frequency
		mode spi.Mode
		bits int
		good bool
	}{
		"as recorded":  {physic.MegaHertz, spi.Mode1, 8, true},
		"other mode":   {physic.MegaHertz, spi.Mode0, 8, false},
		"no limit":     {0, spi.Mode1, 8, false},
		"nine bits":    {physic.MegaHertz, spi.Mode1, 9, false},
		"no such mode": {physic.MegaHertz, 99, 8, false},
	}
	for name, tt := range tests {
		port, err := sensortest.PlaybackSPI(t, spi.Mode1, conversation()).SPI("0.0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := port.Connect(tt.hz, tt.mode, tt.bits); (err == nil) != tt.good {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := port.Connect(tt.hz, tt.mode, tt.bits); err == nil {
			t.Errorf("%s: connected twice", name)
		}
	}
}

// A conversation that goes another way than the recorded one is an error, not a value.
func TestPlaybackSPIHoldsToTheConversation(t *testing.T) {
	hw := sensortest.PlaybackSPI(t, spi.Mode1, conversation()[1:])
	if _, err := driver().New().Open(t.Context(), hw); err == nil || errors.Is(err, sensors.ErrAbsent) {
		t.Errorf("Open: %v, want it to say that the write was not expected", err)
	}
}
