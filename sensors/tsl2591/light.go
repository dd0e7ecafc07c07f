package tsl2591

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"iotagent/sensors"
)

// gain is the chip's code for an amplification (table 6, AGAIN).
type gain int

const (
	gainLow gain = iota
	gainMedium
	gainHigh
	gainMax
)

func gainNames() []string { return []string{"low", "medium", "high", "max"} }

func gainOf(name string) (gain, bool) {
	for i, n := range gainNames() {
		if n == name {
			return gain(i), true
		}
	}
	return 0, false
}

// String is the gain's name.
func (g gain) String() string { return gainNames()[g] }

// factor is the typical amplification ("Electrical Characteristics").
func (g gain) factor() float64 { return [...]float64{1, 25, 428, 9876}[g] }

// The integration time comes in steps.
const (
	step     = 100 * time.Millisecond
	maxSteps = 6
)

// full is what a channel reads that counted more than it can.
func full(steps int) uint16 {
	if steps == 1 {
		return 36863
	}
	return math.MaxUint16
}

// light is what the two diodes counted: all light, and infrared.
type light struct {
	all, infrared uint16
	gain          gain
	steps         int // of the integration time
}

// decode takes the counts out of the data registers.
func decode(data [4]byte, g gain, steps int) light {
	return light{binary.LittleEndian.Uint16(data[:]), binary.LittleEndian.Uint16(data[2:]), g, steps}
}

func (l light) saturated() bool { return max(l.all, l.infrared) >= full(l.steps) }

// dim reports whether the next gain would give at most half of what a channel can count.
func (l light) dim() bool {
	if l.gain == gainMax {
		return false
	}
	next := l.gain + 1
	return float64(max(l.all, l.infrared))*next.factor()/l.gain.factor() < float64(full(l.steps))/2
}

// lux is the formula of the package's comment.
func (l light) lux() float64 {
	if l.all == 0 || l.infrared >= l.all {
		return 0
	}
	all, infrared := float64(l.all), float64(l.infrared)
	return (all - infrared) * (1 - infrared/all) * 408 / (float64(l.steps) * 100 * l.gain.factor())
}

// errDazzled: the light is beyond the range of the settings.
var errDazzled = errors.New("too bright")

// samples turns the counts into values.
func (l light) samples(raw bool) ([]sensors.Sample, error) {
	if l.saturated() {
		return nil, fmt.Errorf("a diode counts %d, all that it can at gain %q in %d ms: %w", max(l.all, l.infrared), l.gain, 100*l.steps, errDazzled)
	}
	all := []sensors.Sample{{Name: "illuminance_lux", Value: round(l.lux())}}
	if raw {
		unit := float64(l.steps) * l.gain.factor()
		all = append(all,
			sensors.Sample{Name: "full_spectrum_count", Value: round(float64(l.all) / unit)},
			sensors.Sample{Name: "infrared_count", Value: round(float64(l.infrared) / unit)})
	}
	return all, nil
}

// round leaves five digits: the rest would cost bytes in every message.
func round(x float64) float64 {
	if x == 0 {
		return 0
	}
	scale := math.Pow(10, 4-math.Floor(math.Log10(x)))
	return math.Round(x*scale) / scale
}
