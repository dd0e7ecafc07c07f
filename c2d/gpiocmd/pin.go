package gpiocmd

import (
	"errors"

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
	out  *gpioline.Output
	line gpioline.Line
}

// takeLine requests the line with its first level.
func takeLine(line gpioline.Line, consumer string, first gpio.Level) (output, error) {
	out, err := gpioline.TakeOutput(line, consumer, bool(first))
	if err != nil {
		return nil, err
	}
	return &lineOutput{out: out, line: line}, nil
}

// Out implements gpio.PinOut.
func (p *lineOutput) Out(l gpio.Level) error { return p.out.Set(bool(l)) }

// PWM implements gpio.PinOut.
func (p *lineOutput) PWM(gpio.Duty, physic.Frequency) error { return errNoPWM }

// String implements pin.Pin.
func (p *lineOutput) String() string { return p.line.String() }

// Name implements pin.Pin.
func (p *lineOutput) Name() string { return p.line.String() }

// Number implements pin.Pin.
func (p *lineOutput) Number() int { return int(p.line.Offset) }

// Function implements pin.Pin.
func (p *lineOutput) Function() string { return "Out" }

// Halt implements conn.Resource: a level needs no stopping.
func (p *lineOutput) Halt() error { return nil }

// Close lets the line go.
func (p *lineOutput) Close() error { return p.out.Close() }

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
