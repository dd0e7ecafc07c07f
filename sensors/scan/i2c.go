package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"

	"iotagent/sensors"
)

// Bus is one I²C bus.
type Bus struct {
	// Bus is what a configuration calls it: "1", or "1/0x70:3" for a channel of a multiplexer.
	Bus  string `json:"bus"`
	Name string `json:"name,omitempty"`
	// Problem says why the bus was not looked at, or not to its end.
	Problem string `json:"problem,omitempty"`
	Chips   []Chip `json:"chips"`
}

// Chip is what is at one address.
type Chip struct {
	Address string `json:"address"` // "0x76"
	// Name and Type are of a chip that has said what it is.
	Name string `json:"name,omitempty"`
	Type string `json:"type,omitempty"`
	// Possible are the drivers whose chips can be at this address and were not ruled out.
	Possible []string `json:"possible,omitempty"`
	// Driver is the kernel driver that has this address; Name is then what the kernel calls the chip.
	Driver string `json:"kernel_driver,omitempty"`
	// Multiplexer says that it behaves as a TCA9548A does.
	Multiplexer bool `json:"multiplexer,omitempty"`
}

// Addresses that a scan reads, and those of them that it leaves out.
const (
	firstAddress  = 0x08
	lastAddress   = 0x77
	alertResponse = 0x0c
	clockMaker    = 0x69
	firstMux      = 0x70
)

const (
	// askLimit is how long one transaction may take, identifyLimit a conversation.
	askLimit      = 250 * time.Millisecond
	identifyLimit = time.Second
	// hangsAfter transactions in a row without an answer the bus is given up.
	hangsAfter = 3
	// crowd is more than any bus carries: a line is held low, and every address seems to answer.
	crowd = 100
)

// i2c looks at every bus, or at those that were asked for.
func (m *machine) i2c(ctx context.Context) part {
	var buses []Bus
	var p part
	numbers, unreachable := m.busNumbers()
	names := m.Buses
	if len(names) == 0 {
		for _, n := range numbers {
			names = append(names, strconv.Itoa(n))
		}
	}
	for _, name := range names {
		root, _, _ := strings.Cut(name, "/")
		n, err := sensors.I2CNumber(root)
		if err != nil {
			buses = append(buses, Bus{Bus: name, Problem: err.Error(), Chips: []Chip{}})
			continue
		}
		b := Bus{Bus: name, Name: m.busName(n)}
		if name == root {
			b.Bus = strconv.Itoa(n)
			b.Chips = m.owned(n)
		}
		switch {
		case m.NoProbe:
			b.Problem = "not probed"
		case len(m.Buses) == 0 && isDisplays(b.Name):
			b.Problem = fmt.Sprintf("belongs to a display, so it was not probed; --bus %d probes it", n)
		default:
			m.probeBus(ctx, &b, &p, append(m.upstream(n, buses), addresses(m.owned(n))...))
		}
		b.Chips = list(b.Chips)
		buses = append(buses, b)
	}
	p.advice = append(p.advice, m.i2cAdvice(len(numbers), unreachable)...)
	p.into = func(r *Report) { r.I2C = buses }
	return p
}

func addresses(chips []Chip) []string {
	var all []string
	for _, c := range chips {
		all = append(all, c.Address)
	}
	return all
}

// busNumbers are those that have a device file, and how many others the kernel has.
func (m *machine) busNumbers() (numbers []int, unreachable int) {
	for _, path := range m.glob("dev/i2c-*") {
		if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "i2c-")); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, path := range m.glob("sys/bus/i2c/devices/i2c-*") {
		n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "i2c-"))
		if err == nil && !slices.Contains(numbers, n) {
			unreachable++
		}
	}
	return numbers, unreachable
}

// busName is what the adapter is called; "" where the kernel has no name for it.
func (m *machine) busName(n int) string {
	name, err := sensors.ReadAttr(m.path(fmt.Sprintf("sys/bus/i2c/devices/i2c-%d/name", n)))
	if err != nil {
		return ""
	}
	return name
}

// isDisplays knows the buses on which graphics drivers ask monitors what they are.
func isDisplays(name string) bool {
	return regexp.MustCompile(`(?i)hdmi|gmbus|\bDPDDC|\bDPMST|\bAUX\b|AMDGPU|NVIDIA|radeon|\bddc\b|fef0[49]500\.i2c`).MatchString(name)
}

// owned are the chips that kernel drivers have, by address.
func (m *machine) owned(n int) []Chip {
	var chips []Chip
	for _, dir := range m.glob(fmt.Sprintf("sys/bus/i2c/devices/%d-*", n)) {
		_, digits, _ := strings.Cut(filepath.Base(dir), "-")
		addr, err := strconv.ParseUint(digits, 16, 16)
		driver, linkErr := os.Readlink(filepath.Join(dir, "driver"))
		if err != nil || linkErr != nil {
			continue // not an address, or declared and free
		}
		name, err := sensors.ReadAttr(filepath.Join(dir, "name"))
		if err != nil {
			name = ""
		}
		chips = append(chips, Chip{Address: hex(uint16(addr)), Name: name, Driver: filepath.Base(driver)})
	}
	return chips
}

func hex(addr uint16) string { return fmt.Sprintf("0x%02x", addr) }

// upstream are the addresses that answer on the bus above a channel that the kernel has made a bus, and so on the channel as well.
func (m *machine) upstream(n int, seen []Bus) []string {
	mux, err := os.Readlink(m.path(fmt.Sprintf("sys/bus/i2c/devices/i2c-%d/mux_device", n)))
	if err != nil {
		return nil
	}
	above, _, _ := strings.Cut(filepath.Base(mux), "-")
	for _, b := range seen {
		if b.Bus == above {
			return addresses(b.Chips)
		}
	}
	return nil
}

// probeBus asks every address of a bus but those that are taken.
func (m *machine) probeBus(ctx context.Context, b *Bus, p *part, taken []string) {
	pr, err := m.prober(b.Bus)
	if err != nil {
		b.Problem = err.Error()
		return
	}
	var blocks []block
	for addr := uint16(firstAddress); addr <= lastAddress && b.Problem == ""; addr++ {
		if addr == alertResponse || addr == clockMaker || slices.Contains(taken, hex(addr)) {
			continue
		}
		c, more, err := pr.probe(ctx, addr)
		switch {
		case err != nil:
			b.Problem = err.Error()
			if errors.Is(err, fs.ErrPermission) {
				b.Problem = "this user may not open it"
				p.lacking = append(p.lacking, "i2c")
			}
		case c != nil && !pr.above.has(ctx, addr):
			b.Chips = append(b.Chips, *c)
			blocks = append(blocks, more...)
		}
	}
	if len(b.Chips) > crowd {
		b.Chips, blocks = nil, nil
		b.Problem = "every address seems to answer: SDA is held low, by a chip without power or a short"
	}
	slices.SortFunc(b.Chips, func(a, b Chip) int { return cmp.Compare(a.Address, b.Address) })
	p.blocks = append(p.blocks, blocks...)
}

// prober asks the addresses of one bus, one after the other.
type prober struct {
	m     *machine
	bus   i2c.Bus
	name  string  // of the bus
	above *prober // of the bus that the multiplexer is on; nil for an adapter
	hangs int     // transactions in a row that had no answer
}

func (m *machine) prober(name string) (*prober, error) {
	bus, err := m.hw.I2C(name)
	if err != nil {
		return nil, err
	}
	p := &prober{m: m, bus: bus, name: name}
	if i := strings.LastIndexByte(name, '/'); i > 0 {
		p.above, err = m.prober(name[:i])
	}
	return p, err
}

// has reports whether a chip on the bus itself answers, as it then does on every channel of its multiplexers.
func (p *prober) has(ctx context.Context, addr uint16) bool {
	if p == nil {
		return false
	}
	c, _, err := p.probe(ctx, addr)
	return err == nil && c != nil || p.above.has(ctx, addr)
}

// probe finds out what is at an address; nil is nothing. An error means that there is no use in going on.
func (p *prober) probe(ctx context.Context, addr uint16) (*Chip, []block, error) {
	if err := sensors.Expired(ctx); err != nil {
		return nil, nil, fmt.Errorf("not probed to its end: %w", err)
	}
	before, err := p.read(ctx, addr)
	answers, err := p.judge(err)
	if err != nil {
		return nil, nil, err
	}
	mux := answers && addr >= firstMux && p.echoes(ctx, addr, before)
	c := &Chip{Address: hex(addr)}
	for _, d := range p.m.Drivers {
		if !slices.Contains(d.Addresses, addr) {
			continue
		}
		name, fits := p.identify(ctx, d, addr)
		if name != "" {
			c.Name, c.Type, c.Possible = name, d.Type, nil
			return c, []block{i2cBlock(d, p.name, addr, name, true)}, nil
		}
		if fits && answers {
			c.Possible = append(c.Possible, d.Type)
		}
	}
	if !answers {
		return nil, nil, nil
	}
	if mux {
		_ = p.write(ctx, addr, before) // its channels, as they were; to anything else what it was sent before
		c.Multiplexer, c.Possible = true, nil
	}
	var blocks []block
	for _, d := range p.m.Drivers {
		if slices.Contains(c.Possible, d.Type) {
			blocks = append(blocks, i2cBlock(d, p.name, addr, "", false))
		}
	}
	return c, blocks, nil
}

// identify asks a driver. Without a question to ask, anything fits.
func (p *prober) identify(ctx context.Context, d sensors.Driver, addr uint16) (name string, fits bool) {
	if d.Identify == nil {
		return "", true
	}
	dev, err := sensors.OpenI2C(p.m.hw, p.name, addr)
	if err != nil {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, identifyLimit)
	defer cancel()
	name, err = d.Identify(ctx, dev)
	if err != nil {
		return "", !errors.Is(err, sensors.ErrAbsent) && !errors.Is(err, sensors.ErrChecksum)
	}
	return name, true
}

// judge tells a chip that does not answer from a bus that does not work.
func (p *prober) judge(err error) (answers bool, fatal error) {
	switch {
	case err == nil:
		p.hangs = 0
		return true, nil
	case errors.Is(err, fs.ErrPermission):
		return false, err
	case errors.Is(err, sensors.ErrTimeout), errors.Is(err, unix.ETIMEDOUT):
		if p.hangs++; p.hangs >= hangsAfter {
			return false, fmt.Errorf("does not work: is SDA or SCL held low, or without its pull-up? %w", err)
		}
		return false, nil
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.EREMOTEIO), errors.Is(err, unix.EIO), errors.Is(err, unix.EAGAIN):
		p.hangs = 0
		return false, nil // adapters differ in the number that they give for a missing acknowledge
	}
	return false, err
}

// echoes looks whether the chip gives back the byte it was sent, as a TCA9548A does. What is sent is what it has just said: to such a
// multiplexer the channels that are on already, to a chip with registers the number of one.
func (p *prober) echoes(ctx context.Context, addr uint16, b byte) bool {
	if p.write(ctx, addr, b) != nil {
		return false
	}
	again, err := p.read(ctx, addr)
	return err == nil && again == b
}

func (p *prober) read(ctx context.Context, addr uint16) (byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var b [1]byte
	err := sensors.Tx(ctx, p.bus, addr, nil, b[:])
	return b[0], err
}

func (p *prober) write(ctx context.Context, addr uint16, b byte) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	return sensors.Tx(ctx, p.bus, addr, []byte{b}, nil)
}
