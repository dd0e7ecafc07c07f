package ina219

import (
	"errors"
	"fmt"
	"math"

	"iotagent/sensors"
)

const (
	shuntBitsPerVolt = 100000 // 10 µV in every range (8.6.3.1)
	busBitsPerVolt   = 250    // 4 mV (8.6.3.2)
	busShift         = 3      // below are flags
	busReady         = 1 << 1

	// maxBusVolts is what the pins bear. The register could tell up to 32 V.
	maxBusVolts = 26
)

// shunt is what the chip does not know of its resistor, and the range it is measured in.
type shunt struct {
	ohms float64
	gain int // the range's code: 0 for ±40 mV, 3 for ±320 mV
}

// full is the register's value at the end of the range, where it stays however large the current is (8.6.3.1).
func (s shunt) full() int { return 4000 << s.gain }

var errClipped = errors.New("beyond what the chip can measure")

// decode turns the shunt and bus voltage registers into samples.
func (s shunt) decode(shuntReg, busReg uint16) ([]sensors.Sample, error) {
	raw := int(int16(shuntReg))
	if raw >= s.full() || raw <= -s.full() {
		most := float64(s.full()) / shuntBitsPerVolt
		return nil, fmt.Errorf("the current is %.3g A or more: %w with a shunt of %g Ω and a range of %g V", most/s.ohms, errClipped, s.ohms, most)
	}
	volts := float64(busReg>>busShift) / busBitsPerVolt
	if volts > maxBusVolts {
		return nil, fmt.Errorf("voltage %.2f V, the chip bears %d V: %w", volts, maxBusVolts, errClipped)
	}
	amperes := float64(raw) / shuntBitsPerVolt / s.ohms
	step := 1 / (shuntBitsPerVolt * s.ohms)
	return []sensors.Sample{
		{Name: "voltage_volts", Value: volts},
		{Name: "current_amperes", Value: round(amperes, step)},
		{Name: "power_watts", Value: round(volts*amperes, step)},
	}, nil
}

// round leaves out the digits beyond a tenth of step: they are none of the chip's, and would cost bytes in every message.
func round(x, step float64) float64 {
	scale := math.Pow(10, math.Ceil(1-math.Log10(step)))
	return math.Round(x*scale) / scale
}
