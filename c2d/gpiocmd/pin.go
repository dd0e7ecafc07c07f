package gpiocmd

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"

	"iotagent/internal/gpioline"
)

var (
	_ output = (*lineOutput)(nil)
	_ output = (*simOutput)(nil)
)

var errNoPWM = errors.New("no pulse-width modulation on this pin")

// lineOutput is a line of the kernel's as periph sees a pin. periph's own lines are no good for outputs: they have no first level, so
// that a line that is to be high is low for a moment, and reading one back makes it an input.
type lineOutput struct {
	line   *gpioline.Line
	name   string // "gpiochip0:17"
	offset uint32
}

// takeLine requests the line with its first level.
func takeLine(chip gpioline.Chip, info gpioline.Info, consumer string, first gpio.Level) (output, error) {
	line, err := gpioline.Request(chip.Path, info.Offset, consumer, bool(first))
	if err != nil {
		if errors.Is(err, unix.EBUSY) {
			err = busy(chip, info, err)
		}
		return nil, allow(err)
	}
	return &lineOutput{line: line, name: fmt.Sprintf("%s:%d", chip.Name, info.Offset), offset: info.Offset}, nil
}

// busy names who holds the line, who may have come since it was looked up.
func busy(chip gpioline.Chip, info gpioline.Info, err error) error {
	if c, again := gpioline.ReadChip(chip.Path); again == nil && int(info.Offset) < len(c.Lines) {
		info = c.Lines[info.Offset]
	}
	who := fmt.Sprintf("%q", info.Consumer)
	if info.Consumer == "" {
		who = "another program or driver"
	}
	return fmt.Errorf("%s:%d (%s) is held by %s: stop that, or choose another pin: %w", chip.Name, info.Offset, info.Name, who, err)
}

// Out implements gpio.PinOut.
func (p *lineOutput) Out(l gpio.Level) error { return p.line.Set(bool(l)) }

// PWM implements gpio.PinOut.
func (p *lineOutput) PWM(gpio.Duty, physic.Frequency) error { return errNoPWM }

// String implements pin.Pin.
func (p *lineOutput) String() string { return p.name }

// Name implements pin.Pin.
func (p *lineOutput) Name() string { return p.name }

// Number implements pin.Pin.
func (p *lineOutput) Number() int { return int(p.offset) }

// Function implements pin.Pin.
func (p *lineOutput) Function() string { return "Out" }

// Halt implements conn.Resource: a level needs no stopping.
func (p *lineOutput) Halt() error { return nil }

// Close lets the line go.
func (p *lineOutput) Close() error { return p.line.Close() }

// simOutput is a pin of machines without any; the handler remembers and logs its level.
type simOutput struct{}

// Out implements gpio.PinOut.
func (p *simOutput) Out(gpio.Level) error { return nil }

// PWM implements gpio.PinOut.
func (p *simOutput) PWM(gpio.Duty, physic.Frequency) error { return errNoPWM }

// String implements pin.Pin.
func (p *simOutput) String() string { return simPin }

// Name implements pin.Pin.
func (p *simOutput) Name() string { return simPin }

// Number implements pin.Pin.
func (p *simOutput) Number() int { return -1 }

// Function implements pin.Pin.
func (p *simOutput) Function() string { return "Out" }

// Halt implements conn.Resource.
func (p *simOutput) Halt() error { return nil }

// Close implements output.
func (p *simOutput) Close() error { return nil }
