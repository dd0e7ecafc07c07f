package max31865

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// The coefficients of IEC 60751; c counts below 0 °C only.
const (
	cvdA = 3.9083e-3
	cvdB = -5.775e-7
	cvdC = -4.183e-12
)

// The range for which they are defined.
const (
	minCelsius = -200
	maxCelsius = 850
)

// rtd is a platinum resistance thermometer and the resistor that it is compared with.
type rtd struct{ r0, reference float64 }

// Errors that say what is wrong with the thermometer, not with the chip.
var (
	errWiring = errors.New("check the thermometer's wires and the board's jumpers")
	errRange  = errors.New("beyond the range of a platinum thermometer")
)

// full is the largest number of a conversion; it has 15 bits.
const full = 1<<15 - 1

// celsius returns the temperature that a conversion stands for.
func (r rtd) celsius(code uint16) (float64, error) {
	switch code {
	case 0:
		return 0, fmt.Errorf("0 Ω, a short circuit: %w", errWiring)
	case full:
		return 0, fmt.Errorf("more than the reference resistor's %g Ω, an open circuit: %w", r.reference, errWiring)
	}
	ohms := float64(code) / (full + 1) * r.reference
	t := math.Round(solve(ohms/r.r0)*100) / 100
	if !(t >= minCelsius && t <= maxCelsius) { // true for NaN
		return 0, fmt.Errorf("%.2f Ω with r0_ohms = %g and reference_ohms = %g: %w", ohms, r.r0, r.reference, errRange)
	}
	return t, nil
}

// solve returns the temperature at which the resistance is that multiple of what it is at 0 °C; NaN when there is none.
func solve(ratio float64) float64 {
	t := (-cvdA + math.Sqrt(cvdA*cvdA-4*cvdB*(1-ratio))) / (2 * cvdB)
	if ratio >= 1 {
		return t
	}
	for range 8 { // Newton's method; from the quadratic's solution it takes 3 or 4 steps
		f := 1 + t*(cvdA+t*(cvdB+t*cvdC*(t-100))) - ratio
		t -= f / (cvdA + t*(2*cvdB+t*cvdC*(4*t-300)))
	}
	return t
}

// Bits of the fault status (table 7).
const (
	faultHigh      = 0x80
	faultLow       = 0x40
	faultRefHigh   = 0x20
	faultRefOpen   = 0x10
	faultRTDOpen   = 0x08
	faultOverUnder = 0x04
)

// faultError says what the bits of the fault status mean.
func faultError(status byte) error {
	var found []string
	for _, f := range []struct {
		bit  byte
		text string
	}{
		{faultRefHigh, "REFIN− is high (F− is open, or RTD− is shorted high)"},
		{faultRefOpen, "REFIN− is low (F− is open, or a wire touches ground)"},
		{faultRTDOpen, "RTDIN− is low (F− is open, or a wire touches ground)"},
		{faultOverUnder, "a wire carries more than the supply or less than ground"},
		{faultHigh, "the resistance is too high, an open circuit"},
		{faultLow, "the resistance is too low, a short circuit"},
	} {
		if status&f.bit != 0 {
			found = append(found, f.text)
		}
	}
	if len(found) == 0 {
		found = []string{"the chip does not say which"}
	}
	return fmt.Errorf("fault 0x%02x: %s: %w", status, strings.Join(found, "; "), errWiring)
}
