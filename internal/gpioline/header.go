package gpioline

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What a pin of the header may carry beside a line.
const (
	volts3 = -1 - iota
	volts5
	ground
)

// header is the 40-pin header of every Raspberry Pi since the B+, pin 1 first: the numbers of the lines (Raspberry Pi documentation,
// "GPIO and the 40-pin header"). Pins 27 and 28, lines 0 and 1, are those of a HAT's EEPROM.
func header() []int {
	return []int{
		volts3, volts5, 2, volts5, 3, ground, 4, 14, ground, 15, 17, 18, 27, ground, 22, 23, volts3, 24, 10, ground,
		9, 25, 11, 8, ground, 7, 0, 1, 5, ground, 6, 12, 13, ground, 19, 16, 26, 20, ground, 21,
	}
}

// OnHeader reports whether lines 0 to 27 of the chip are those of a Raspberry Pi's header: that of the processor, or of the RP1 of a Pi 5.
func (c *Chip) OnHeader() bool {
	return (strings.HasPrefix(c.Label, "pinctrl-bcm2") || c.Label == "pinctrl-rp1") && len(c.Lines) >= 28
}

// HeaderPin returns "P1_11" for line 17, "" for lines that are not on the header.
func HeaderPin(offset uint32) string {
	for i, line := range header() {
		if line == int(offset) {
			return fmt.Sprintf("P1_%d", i+1)
		}
	}
	return ""
}

// headerLine returns the line that "GPIO17" or "P1_11" means. ok is false for other names; an error says what else the pin carries.
func headerLine(name string) (line int, ok bool, err error) {
	if n, ok := numbered(name, "GPIO"); ok {
		return n, n < 28, nil
	}
	pin, ok := numbered(name, "P1_")
	if !ok {
		return 0, false, nil
	}
	if pin < 1 || pin > len(header()) {
		return 0, true, fmt.Errorf("pin %q: the header has the pins 1 to %d", name, len(header()))
	}
	line = header()[pin-1]
	if line < 0 {
		return 0, true, fmt.Errorf("pin %q is %s, not a line", name, map[int]string{volts3: "3.3 V", volts5: "5 V", ground: "ground"}[line])
	}
	return line, true, nil
}

// numbered returns n of a name that is the prefix and n, without leading zeros.
func numbered(name, prefix string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	u, err := strconv.ParseUint(digits, 10, 16)
	return int(u), ok && err == nil && strconv.FormatUint(u, 10) == digits
}

// shortHeader reports whether this is one of the first boards, whose header has 26 pins and, by revision, other lines.
func shortHeader(root string) bool {
	model, err := os.ReadFile(filepath.Join(root, "proc/device-tree/model"))
	if err != nil {
		return false
	}
	return strings.HasPrefix(string(model), "Raspberry Pi Model A Rev") || strings.HasPrefix(string(model), "Raspberry Pi Model B Rev")
}
