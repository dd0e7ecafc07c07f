package ina226

import (
	"errors"
	"fmt"
	"math"

	"iotagent/sensors"
)

const (
	shuntBitsPerVolt = 400000 // 2.5 µV (7.1.2)
	busBitsPerVolt   = 800    // 1.25 mV (7.1.3)

	// maxBusVolts is what the pins bear. The register could tell up to 40.96 V.
	maxBusVolts = 36
)

var errClipped = errors.New("beyond what the chip can measure")

// decode turns the shunt and bus voltage registers into samples.
func decode(shunt, bus uint16, shuntOhms float64) ([]sensors.Sample, error) {
	raw := int16(shunt)
	if raw == math.MaxInt16 || raw == math.MinInt16 {
		return nil, fmt.Errorf("the current is larger than %.3g A: %w with this shunt of %g Ω", float64(math.MaxInt16)/shuntBitsPerVolt/shuntOhms, errClipped, shuntOhms)
	}
	volts := float64(bus) / busBitsPerVolt
	if volts > maxBusVolts {
		return nil, fmt.Errorf("voltage %.2f V, the chip bears %d V: %w", volts, maxBusVolts, errClipped)
	}
	amperes := float64(raw) / shuntBitsPerVolt / shuntOhms
	step := 1 / (shuntBitsPerVolt * shuntOhms)
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
