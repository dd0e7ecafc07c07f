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

// crowd is more than any bus carries: a line is held low, and every address seems to answer.
const crowd = 100

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
		path, err := sensors.ParseI2C(name)
		if err != nil {
			buses = append(buses, Bus{Bus: name, Problem: err.Error(), Chips: []Chip{}})
			continue
		}
		n := m.numberOf(path, numbers)
		b := Bus{Bus: name, Name: m.busName(n)}
		if len(path.Hops) == 0 {
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

// numberOf is the adapter's; -1 where none has that name.
func (m *machine) numberOf(path sensors.I2CPath, numbers []int) int {
	if path.Adapter == "" {
		return path.Number
	}
	i := slices.IndexFunc(numbers, func(n int) bool { return strings.HasPrefix(m.busName(n), path.Adapter) })
	if i < 0 {
		return -1
	}
	return numbers[i]
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
	if err := pr.reached(ctx); err != nil {
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
