package scd4x

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"iotagent/internal/crc8"
	"iotagent/sensors"
)

// parse takes the words out of an answer: two bytes each, with their checksum.
func parse(frame []byte) ([]uint16, error) {
	words := make([]uint16, 0, len(frame)/3)
	for ; len(frame) >= 3; frame = frame[3:] {
		if want := crc8.Sum(frame[:2]); frame[2] != want {
			return nil, fmt.Errorf("word %d of the answer: checksum 0x%02x, want 0x%02x: %w", len(words)+1, frame[2], want, sensors.ErrChecksum)
		}
		words = append(words, binary.BigEndian.Uint16(frame))
	}
	return words, nil
}

// readyMask is the part of the status that is 0 while there is no new measurement (3.8.2).
const readyMask = 0x07ff

// maxCO2 is the end of the chip's scale.
const maxCO2 = 40000

// errBroken says that the checksums are right and the values are none.
var errBroken = errors.New("the measurement is no measurement")

// celsius and percent are the formulas of section 3.5.2.
func celsius(raw uint16) float64 { return -45 + 175*float64(raw)/65535 }
func percent(raw uint16) float64 { return 100 * float64(raw) / 65535 }

// samples turns the three words of a measurement into values, rounded to what the chip can tell apart.
func samples(words []uint16) ([]sensors.Sample, error) {
	co2, t, h := words[0], round(celsius(words[1])), round(percent(words[2]))
	switch {
	case co2 == 0:
		return nil, fmt.Errorf("0 ppm of CO₂: %w", errBroken)
	case co2 > maxCO2:
		return nil, fmt.Errorf("%d ppm of CO₂, more than the chip's scale of %d: %w", co2, maxCO2, errBroken)
	case t < -10 || t > 60:
		return nil, fmt.Errorf("temperature %.2f °C is outside the chip's range of -10..60", t)
	}
	return []sensors.Sample{
		{Name: "co2_ppm", Value: float64(co2)},
		{Name: "temperature_celsius", Value: t},
		{Name: "humidity_percent", Value: h},
	}, nil
}

// round rounds to hundredths: the rest is noise that would cost bytes in every message.
func round(x float64) float64 { return math.Round(x*100) / 100 }
