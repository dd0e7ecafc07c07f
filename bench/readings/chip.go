package main

import (
	"encoding/hex"
	"errors"
	"fmt"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"iotagent/sensors"
	"iotagent/sensors/bme280"
)

// adapter is an I²C adapter in memory with a BME280 at 0x76 and another at 0x77. A transaction takes no time.
type adapter struct{ chips [2]chip }

// chip is a BME280 as a table of registers. Its measurements are always ready.
type chip [256]byte

// The registers of the datasheet's example (BST-BME280-DS002 section 5.3, calibration and data of BST-BMP280-DS001 section 3.12).
const (
	calibration = "706b436718fc7d8e43d6d00b270b8c00f9ff8c3cf8c67017004b" // from 0x88
	humidity    = "6a0100140d001e"                                       // from 0xe1
	measured    = "655ac07eed0061a8"                                     // from 0xf7
)

func newAdapter() (*adapter, error) {
	a := &adapter{}
	for i := range a.chips {
		c := &a.chips[i]
		c[0xd0] = 0x60
		for at, text := range map[int]string{0x88: calibration, 0xe1: humidity, 0xf7: measured} {
			b, err := hex.DecodeString(text)
			if err != nil {
				return nil, err
			}
			copy(c[at:], b)
		}
	}
	return a, nil
}

// Tx reads and writes registers as the datasheet's section 6.2 says.
func (a *adapter) Tx(addr uint16, w, r []byte) error {
	if addr&^1 != 0x76 || len(w) == 0 {
		return errors.New("nobody there")
	}
	c := &a.chips[addr&1]
	for i := 0; i+1 < len(w); i += 2 {
		if reg, value := w[i], w[i+1]; reg == 0xf2 || reg == 0xf4 || reg == 0xf5 {
			c[reg] = value &^ 3 // the chip sleeps again when the measurement is over
			if reg == 0xf2 {
				c[reg] = value
			}
		}
	}
	copy(r, c[w[0]:])
	return nil
}

func (a *adapter) String() string                  { return "simulated" }
func (a *adapter) SetSpeed(physic.Frequency) error { return nil }
func (a *adapter) Close() error                    { return nil }

// board is hardware with as many such adapters as anybody asks for.
func board() *sensors.Board {
	return sensors.NewHardware("/nowhere", &sensors.HardwareOptions{
		OpenI2C: func(int) (i2c.BusCloser, error) { return newAdapter() },
	})
}

// bme280Config is the sensor with that number: two on each adapter.
func bme280Config(n int) (sensors.Config, error) {
	c, ok := bme280.Driver().New().(*bme280.Config)
	if !ok {
		return nil, errors.New("the driver has another configuration")
	}
	c.Bus, c.Address = fmt.Sprint(n/2), 0x76+n%2
	return c, nil
}
