package gpiocmd

import (
	"periph.io/x/conn/v3/gpio"

	"iotagent/internal/gpioline"
)

// idleLevel is the level of a line that nobody holds, where it is known: from the line's own bias, or from the pulls that a Raspberry Pi's
// pins have after a reset (BCM2835 ARM Peripherals, table 6-31: 0 to 8 up, 9 to 27 down; the later chips kept them).
func idleLevel(line gpioline.Line) (level gpio.Level, known bool) {
	switch {
	case line.Flags&gpioline.FlagUsed != 0: // its flags are those of who holds it
	case line.Flags&gpioline.FlagBiasPullUp != 0:
		return gpio.High, true
	case line.Flags&gpioline.FlagBiasPullDown != 0:
		return gpio.Low, true
	}
	if line.Chip.OnHeader() {
		return gpio.Level(line.Offset <= 8), line.Offset <= 27
	}
	return gpio.Low, false
}
