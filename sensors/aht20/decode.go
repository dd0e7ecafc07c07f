package aht20

import (
	"errors"
	"fmt"
	"math"

	"iotagent/internal/crc8"
	"iotagent/sensors"
)

// frameSize is the length of a measurement: status, humidity and temperature of 20 bits each, checksum.
const frameSize = 7

var errNoHumidity = errors.New("humidity reads 0: the chip measured nothing")

// decode turns a measurement, of which the chip is no longer busy, into values rounded to its resolution.
func decode(b [frameSize]byte) ([]sensors.Sample, error) {
	if want := crc8.Sum(b[:frameSize-1]); b[6] != want {
		return nil, fmt.Errorf("measurement: checksum 0x%02x, want 0x%02x (an AHT10 sends none): %w", b[6], want, sensors.ErrChecksum)
	}
	if b[0]&statusCalibrated == 0 {
		return nil, errNotCalibrated
	}
	humidity := uint32(b[1])<<12 | uint32(b[2])<<4 | uint32(b[3])>>4
	if humidity == 0 {
		return nil, errNoHumidity
	}
	t := round(celsius(uint32(b[3]&0x0f)<<16 | uint32(b[4])<<8 | uint32(b[5])))
	if t < -40 || t > 85 {
		return nil, fmt.Errorf("temperature %.2f °C is outside the chip's range of -40..85", t)
	}
	return []sensors.Sample{
		{Name: "temperature_celsius", Value: t},
		{Name: "humidity_percent", Value: round(percent(humidity))},
	}, nil
}

// percent is the relative humidity (section 8).
func percent(raw uint32) float64 { return float64(raw) / (1 << 20) * 100 }

// celsius is the temperature (section 8).
func celsius(raw uint32) float64 { return float64(raw)/(1<<20)*200 - 50 }

// round rounds to hundredths: the rest is noise that would cost bytes in every message.
func round(x float64) float64 { return math.Round(x*100) / 100 }
