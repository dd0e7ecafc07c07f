package mcp9808

import (
	"errors"
	"fmt"
	"time"
)

// Registers (5.1).
const (
	regConfig       = 0x01
	regTemperature  = 0x05
	regManufacturer = 0x06
	regDevice       = 0x07
	regResolution   = 0x08
)

// The configuration register (5.1.1).
const (
	shutdown     = 1 << 8
	mark         = 1 << 9             // a hysteresis of 1.5 °C; 0 after a reset
	locks        = 3 << 6             // critical and window lock: neither of the above can then be set
	settingsMask = 0x07ff &^ (1 << 4) // bit 4 says what the alert output does
)

// What the chip says it is (5.1.4, 5.1.5). The device's lower byte is its revision.
const (
	manufacturerMicrochip = 0x0054
	deviceMCP9808         = 0x04
)

// precision is one setting of the resolution register (5.1.6).
type precision struct {
	code byte
	wait time.Duration // twice the typical time of a conversion
}

// precisionOf finds the setting for a resolution in °C.
func precisionOf(resolution float64) (precision, bool) {
	switch resolution {
	case 0.5:
		return precision{0, 60 * time.Millisecond}, true
	case 0.25:
		return precision{1, 130 * time.Millisecond}, true
	case 0.125:
		return precision{2, 260 * time.Millisecond}, true
	case 0.0625:
		return precision{3, 500 * time.Millisecond}, true
	default:
		return precision{}, false
	}
}

// stuckHigh is what a line that stays high reads. No chip gives it: it would be above the critical limit and below the lower one.
const stuckHigh = 0xffff

// celsius decodes the temperature register: 13 bits of two's complement in sixteenths (5.1.3.1).
func celsius(word uint16) (float64, error) {
	if word == stuckHigh {
		return 0, errors.New("the temperature reads 0xffff: the bus is stuck")
	}
	c := float64(int16(word<<3)>>3) / 16
	if c < -40 || c > 125 {
		return 0, fmt.Errorf("temperature %.4f °C is outside the chip's range of -40..125", c)
	}
	return c, nil
}
