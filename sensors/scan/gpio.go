package scan

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"iotagent/internal/gpioline"
)

// GPIOChip is one GPIO chip and its lines.
type GPIOChip struct {
	Name  string `json:"name"`
	Label string `json:"label,omitempty"`
	// Problem says why it was not asked.
	Problem string `json:"problem,omitempty"`
	// Lines counts all, Free are those that nobody holds, Used the others.
	Lines int    `json:"lines"`
	Free  []Line `json:"free"`
	Used  []Line `json:"used"`
}

// Line is one GPIO line.
type Line struct {
	Offset uint32 `json:"offset"`
	// Name is the board's; "" where it has none. Pin is where the line is on a Raspberry Pi's header: "P1_11".
	Name string `json:"name,omitempty"`
	Pin  string `json:"pin,omitempty"`
	// Consumer is who holds the line.
	Consumer string `json:"consumer,omitempty"`
}

// gpio lists the chips and who holds which line. It takes none.
func (m *machine) gpio(context.Context) part {
	var p part
	var chips []GPIOChip
	for _, path := range m.glob("dev/gpiochip*") {
		c, err := m.ReadChip(path)
		if err != nil {
			name := path[strings.LastIndexByte(path, '/')+1:]
			broken := GPIOChip{Name: name, Problem: err.Error(), Free: []Line{}, Used: []Line{}}
			if errors.Is(err, fs.ErrPermission) {
				broken.Problem = "this user may not open it"
				p.lacking = append(p.lacking, "gpio")
			}
			chips = append(chips, broken)
			continue
		}
		chips = append(chips, newGPIOChip(&c))
	}
	p.into = func(r *Report) { r.GPIO = chips }
	return p
}

func newGPIOChip(c *gpioline.Chip) GPIOChip {
	chip := GPIOChip{Name: c.Name, Label: c.Label, Lines: len(c.Lines), Free: []Line{}, Used: []Line{}}
	pins := headerPins(c.Label)
	for _, info := range c.Lines {
		l := Line{Offset: info.Offset, Name: info.Name, Pin: pins[info.Offset], Consumer: info.Consumer}
		if info.Flags&gpioline.FlagUsed != 0 {
			chip.Used = append(chip.Used, l)
		} else {
			chip.Free = append(chip.Free, l)
		}
	}
	return chip
}

// headerPins are the places of a Raspberry Pi's lines on its header of 40 pins, by the label of its chip; none for other chips.
func headerPins(label string) map[uint32]string {
	if !strings.HasPrefix(label, "pinctrl-bcm2") && label != "pinctrl-rp1" {
		return nil
	}
	return map[uint32]string{
		2: "P1_3", 3: "P1_5", 4: "P1_7", 14: "P1_8", 15: "P1_10", 17: "P1_11", 18: "P1_12", 27: "P1_13", 22: "P1_15", 23: "P1_16", 24: "P1_18",
		10: "P1_19", 9: "P1_21", 25: "P1_22", 11: "P1_23", 8: "P1_24", 7: "P1_26", 0: "P1_27", 1: "P1_28", 5: "P1_29", 6: "P1_31", 12: "P1_32",
		13: "P1_33", 19: "P1_35", 16: "P1_36", 26: "P1_37", 20: "P1_38", 21: "P1_40",
	}
}
