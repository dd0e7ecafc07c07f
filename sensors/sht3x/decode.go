package sht3x

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"iotagent/internal/crc8"
	"iotagent/sensors"
)

// wordSize is the length of one word of an answer: two bytes and their checksum.
const wordSize = 3

// parse checks an answer and takes the words out.
func parse(frame []byte) ([]uint16, error) {
	for _, stuck := range []byte{0x00, 0xff} {
		if bytes.Count(frame, []byte{stuck}) == len(frame) {
			return nil, fmt.Errorf("every byte of the answer is 0x%02x: the bus is stuck: %w", stuck, sensors.ErrChecksum)
		}
	}
	words := make([]uint16, len(frame)/wordSize)
	for i := range words {
		b := frame[i*wordSize:][:wordSize]
		if want := crc8.Sum(b[:2]); b[2] != want {
			return nil, fmt.Errorf("word %d of the answer: checksum 0x%02x, want 0x%02x: %w", i+1, b[2], want, sensors.ErrChecksum)
		}
		words[i] = binary.BigEndian.Uint16(b)
	}
	return words, nil
}

// celsius is the temperature (section 4.13).
func celsius(raw uint16) float64 { return -45 + 175*float64(raw)/65535 }

// percent is the relative humidity (section 4.13). It cannot leave 0..100.
func percent(raw uint16) float64 { return 100 * float64(raw) / 65535 }

// scale turns a measurement into values, rounded to the chip's resolution.
func scale(temperature, humidity uint16) ([]sensors.Sample, error) {
	t := round(celsius(temperature))
	if t < -40 || t > 125 {
		return nil, fmt.Errorf("temperature %.2f °C is outside the chip's range of -40..125", t)
	}
	return []sensors.Sample{
		{Name: "temperature_celsius", Value: t},
		{Name: "humidity_percent", Value: round(percent(humidity))},
	}, nil
}

// round rounds to hundredths: the rest is noise that would cost bytes in every message.
func round(x float64) float64 { return math.Round(x*100) / 100 }
