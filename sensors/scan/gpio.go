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
	// Types are the drivers that read lines.
	Types []string `json:"types,omitempty"`
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
		chip := newGPIOChip(&c)
		chip.Types = m.typesOf("GPIO input")
		chips = append(chips, chip)
	}
	p.into = func(r *Report) { r.GPIO = chips }
	return p
}

func newGPIOChip(c *gpioline.Chip) GPIOChip {
	chip := GPIOChip{Name: c.Name, Label: c.Label, Lines: len(c.Lines), Free: []Line{}, Used: []Line{}}
	for _, info := range c.Lines {
		l := Line{Offset: info.Offset, Name: info.Name, Consumer: info.Consumer}
		if c.OnHeader() {
			l.Pin = gpioline.HeaderPin(info.Offset)
		}
		if info.Flags&gpioline.FlagUsed != 0 {
			chip.Used = append(chip.Used, l)
		} else {
			chip.Free = append(chip.Free, l)
		}
	}
	return chip
}
