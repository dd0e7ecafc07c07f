// Package scan looks what a machine has that can be measured with, for a person who is about to write a configuration.
//
// # What is touched
//
// Files of sysfs that describe are read, none that measures. GPIO chips are asked what their lines are; no line is taken. On I²C each address
// from 0x08 to 0x77 is read for one byte, which most chips answer with whatever they have; a write of no bytes, which other programs
// probe with, is beyond some adapters and starts a conversation in some chips. Two addresses are left out: 0x0c, where a
// read acknowledges SMBus alerts, and 0x69, where chips that make clocks are known to hold the bus when they are read. Addresses that a
// kernel driver owns are not touched. Then the drivers that know a harmless question ask it (sensors.Driver.Identify), also where nothing answered:
// Sensirion's chips refuse to be read while they have nothing to say.
//
// A read at a bad moment can spoil a measurement that another program is making; it will report that one as failed and
// make the next. Only a person's scan probes, never the daemon.
package scan

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"iotagent/internal/gpioline"
	"iotagent/sensors"
)

// Options says what to look with and at.
type Options struct {
	// Drivers are those that chips are known by.
	Drivers []sensors.Driver
	// Buses are the I²C buses to look at, as a configuration calls them, channels of multiplexers ("1/0x70:3") too; empty means every adapter but
	// those of displays.
	Buses []string
	// NoProbe leaves every I²C chip alone: only what the kernel knows is told.
	NoProbe bool
	// User is who shall be let into the groups that are missing.
	User string
	// ReadChip asks for a GPIO chip. Nil means the kernel.
	ReadChip func(path string) (gpioline.Chip, error)
	// Usable returns why a device file cannot be opened for reading and writing. Nil asks the kernel.
	Usable func(path string) error
	// SectionLimit is how long each kind of bus may take. 0 means 20 s.
	SectionLimit time.Duration
}

// Report is what there is. docs/formats.md shows its JSON.
type Report struct {
	Board   string     `json:"board,omitempty"`
	I2C     []Bus      `json:"i2c"`
	OneWire []OneWire  `json:"one_wire"`
	Kernel  []Measured `json:"kernel"`
	SPI     []Port     `json:"spi"`
	Serial  []Port     `json:"serial"`
	GPIO    []GPIOChip `json:"gpio"`
	// Advice says what to do about what is missing, a sentence each.
	Advice []string `json:"advice"`
	// Config is TOML to paste: a [[sensor]] block for each sensor that is certain, behind # for what is possible.
	Config string `json:"config"`
}

// Measured is something that a kernel driver measures and one of ours can read: type iio or hwmon.
type Measured struct {
	Type     string   `json:"type"`
	Chip     string   `json:"chip"`
	Device   string   `json:"device,omitempty"`
	Channels []string `json:"channels"`
}

// machine is one that is being looked at.
type machine struct {
	Options
	hw   sensors.Hardware
	root string
}

// Run looks at the machine. It returns when it is done or each kind of bus had its time; what hangs is named in the report.
func Run(ctx context.Context, hw sensors.Hardware, o Options) *Report {
	if o.ReadChip == nil {
		o.ReadChip = gpioline.ReadChip
	}
	if o.Usable == nil {
		o.Usable = usable
	}
	if o.SectionLimit <= 0 {
		o.SectionLimit = 20 * time.Second
	}
	m := &machine{Options: o, hw: hw, root: hw.Root()}
	r := &Report{Board: m.board()}
	sections := []struct {
		name string
		look func(ctx context.Context) part
	}{
		{"i2c", m.i2c}, {"1-wire", m.oneWire}, {"what the kernel measures", m.measured}, {"spi", m.spi}, {"serial", m.serial}, {"gpio", m.gpio},
	}
	running := make([]chan part, len(sections))
	for i, s := range sections {
		running[i] = m.begin(ctx, s.look)
	}
	lacking := &lacking{}
	var blocks []block
	for i, s := range sections {
		p, ok := <-running[i]
		if !ok {
			r.Advice = append(r.Advice, "looking at "+s.name+" did not end in time: is a bus stuck?")
			continue
		}
		p.into(r)
		lacking.add(p.lacking)
		r.Advice = append(r.Advice, p.advice...)
		blocks = append(blocks, p.blocks...)
	}
	r.Advice = append(r.Advice, lacking.advice(m.User)...)
	r.Config = compose(blocks)
	r.complete()
	return r
}

// part is what one kind of bus adds to the report.
type part struct {
	into    func(r *Report)
	advice  []string
	lacking []string // groups that would open what was closed
	blocks  []block
}

// begin looks on a goroutine of its own, which is left behind when it hangs in the kernel; the channel is closed then.
func (m *machine) begin(ctx context.Context, look func(ctx context.Context) part) chan part {
	result := make(chan part, 1)
	ctx, cancel := context.WithTimeout(ctx, m.SectionLimit)
	done := make(chan part, 1)
	go func() { done <- look(ctx) }()
	go func() {
		defer cancel()
		defer close(result)
		select {
		case p := <-done:
			result <- p
			return
		case <-ctx.Done():
		}
		t := time.NewTimer(settle) // it is honouring ctx, or it is not
		defer t.Stop()
		select {
		case p := <-done:
			result <- p
		case <-t.C:
		}
	}()
	return result
}

// settle is how long a section may take to come back after its time is up.
const settle = time.Second

// complete makes the lists lists in JSON, where they are empty, too.
func (r *Report) complete() {
	r.I2C, r.OneWire, r.Kernel = list(r.I2C), list(r.OneWire), list(r.Kernel)
	r.SPI, r.Serial, r.GPIO, r.Advice = list(r.SPI), list(r.Serial), list(r.GPIO), list(r.Advice)
}

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// board names the machine, where the kernel has a name for it.
func (m *machine) board() string {
	text, err := sensors.ReadAttr(filepath.Join(m.root, "proc/device-tree/model"))
	if err != nil {
		return ""
	}
	return strings.Trim(text, "\x00 \n")
}

func (m *machine) path(p string) string { return filepath.Join(m.root, p) }

// glob lists the files of a pattern below the root, in order; none on any error.
func (m *machine) glob(pattern string) []string {
	found, err := filepath.Glob(m.path(pattern))
	if err != nil {
		return nil
	}
	return found
}
