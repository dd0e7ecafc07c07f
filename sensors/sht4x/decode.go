package sht4x

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"iotagent/internal/crc8"
	"iotagent/sensors"
)

// frameSize is the length of every answer: two words, each with its checksum.
const frameSize = 6

// answer is what a command gave: temperature and humidity as the chip counts them, or the halves of its serial number.
type answer struct{ first, second uint16 }

// errBroken says that the checksums are right and the values are those of a broken sensor.
var errBroken = errors.New("the sensor is broken")

// parse checks a frame and takes the words out.
func parse(frame [frameSize]byte) (answer, error) {
	if frame == [frameSize]byte{} || frame == [frameSize]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} {
		return answer{}, fmt.Errorf("every byte of the answer is 0x%02x: the bus is stuck: %w", frame[0], sensors.ErrChecksum)
	}
	first, err := word(frame[:3])
	if err != nil {
		return answer{}, fmt.Errorf("first word of the answer: %w", err)
	}
	second, err := word(frame[3:])
	if err != nil {
		return answer{}, fmt.Errorf("second word of the answer: %w", err)
	}
	return answer{first, second}, nil
}

// word takes a word out of its two bytes and their checksum.
func word(b []byte) (uint16, error) {
	if want := crc8.Sum(b[:2]); b[2] != want {
		return 0, fmt.Errorf("checksum 0x%02x, want 0x%02x: %w", b[2], want, sensors.ErrChecksum)
	}
	return binary.BigEndian.Uint16(b), nil
}

// celsius is the temperature ("Conversion of Signal Output").
func celsius(raw uint16) float64 { return -45 + 175*float64(raw)/65535 }

// percent is the relative humidity, which may lie beyond 0..100 ("Conversion of Signal Output").
func percent(raw uint16) float64 { return -6 + 125*float64(raw)/65535 }

// samples turns a measurement into values, rounded to the chip's resolution.
func (a answer) samples() ([]sensors.Sample, error) {
	t, h := round(celsius(a.first)), round(percent(a.second))
	switch {
	case t < -40 || t > 125:
		return nil, fmt.Errorf("temperature %.2f °C is outside the chip's range of -40..125", t)
	case a.second == 0 || a.second == 0xffff:
		return nil, fmt.Errorf("humidity reads 0x%04x, an end of its scale: %w", a.second, errBroken)
	case a.second == 0x8000 && (a.first == 0x8000 || a.first == 0x8001):
		return nil, fmt.Errorf("both values read 0x8000, as after a static discharge: %w", errBroken)
	}
	return []sensors.Sample{
		{Name: "temperature_celsius", Value: t},
		{Name: "humidity_percent", Value: min(max(h, 0), 100)},
	}, nil
}

// round rounds to hundredths: the rest is noise that would cost bytes in every message.
func round(x float64) float64 { return math.Round(x*100) / 100 }
