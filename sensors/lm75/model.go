package lm75

import (
	"errors"
	"fmt"
	"time"
)

// Registers (6.5.1).
const (
	regTemperature   = 0x00
	regConfiguration = 0x01
)

// model is what one chip of the family has of its own. Settings of chips whose configuration register has one byte stand in the
// upper half.
type model struct {
	name        string
	bits        int           // of the temperature
	wide        bool          // the configuration register has two bytes
	lastAddress int           // of those that its pins can choose
	wait        time.Duration // more than the longest conversion

	fixed, fixedMask uint16 // bits of the settings that are the same on every such chip
	asleep           uint16 // the settings between measurements
	start            uint16 // written to begin a measurement
	running          uint16 // the settings when it is done
	mask             uint16 // bits that must read as they were written
	ready            uint16 // bit that reads 1 when a conversion is done; 0 where there is none
}

// Bits of the settings. The resolution bits of a TMP102 read 1 and cannot be written (6.5.3).
const (
	oneShot     = 1 << 15
	twelveBits  = 3 << 13
	faultsOfTwo = 1 << 11
	shutdown    = 1 << 8
	fourHertz   = 1 << 7 // the conversion rate after a reset, without effect in shutdown
	alert       = 1 << 5 // says what the alert output does
	unused      = 0x000f
)

// modelOf returns the chip of that name.
func modelOf(chip string) (model, bool) {
	switch chip {
	case "lm75":
		return lm75(chip, 9, 320*time.Millisecond), true
	case "pct2075":
		return lm75(chip, 11, 200*time.Millisecond), true
	case "tmp75":
		const asleep = twelveBits | shutdown
		return model{
			name: chip, bits: 12, lastAddress: 0x4f, wait: 320 * time.Millisecond,
			asleep: asleep, start: asleep | oneShot, running: asleep, mask: 0xff00 &^ oneShot,
		}, true
	case "tmp102":
		const asleep = twelveBits | shutdown | fourHertz
		return model{
			name: chip, bits: 12, wide: true, lastAddress: 0x4b, wait: 40 * time.Millisecond,
			fixed: twelveBits, fixedMask: twelveBits | unused,
			asleep: asleep, start: asleep | oneShot, running: asleep, mask: 0xffff &^ (oneShot | alert), ready: oneShot,
		}, true
	default:
		return model{}, false
	}
}

// lm75 is a chip that converts as long as it is not shut down.
func lm75(name string, bits int, wait time.Duration) model {
	return model{
		name: name, bits: bits, lastAddress: 0x4f, wait: wait,
		fixedMask: 0xe000,
		asleep:    faultsOfTwo | shutdown, start: faultsOfTwo, running: faultsOfTwo, mask: 0xff00,
	}
}

// write is what sets the settings.
func (m *model) write(settings uint16) []byte {
	w := []byte{regConfiguration, byte(settings >> 8)}
	if m.wide {
		w = append(w, byte(settings))
	}
	return w
}

// celsius decodes the temperature register: two's complement, left-justified, one degree in the upper byte (6.5.2).
func (m *model) celsius(word uint16) (float64, error) {
	// Nine bits leave seven that are undefined; with more the lowest are 0, and all of them 1 is a line that stays high.
	if word == 0xffff && m.bits > 9 {
		return 0, errors.New("the temperature reads 0xffff: the bus is stuck")
	}
	unusedBits := 16 - m.bits
	c := float64(int16(word)>>unusedBits<<unusedBits) / 256
	if c < -55 || c > 125 {
		return 0, fmt.Errorf("temperature %.4f °C is outside the chip's range of -55..125", c)
	}
	return c, nil
}
