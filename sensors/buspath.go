package sensors

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// byName is what a bus begins with that is found by its adapter's name.
const byName = "name:"

// I2CPath is the way to an I²C bus: an adapter, and the multiplexers behind it.
type I2CPath struct {
	// Adapter is how the name of the adapter begins, as /sys/bus/i2c/devices/i2c-N/name has it, and "" when Number says which it is.
	Adapter string
	Number  int
	// Hops are the channels to go through, that next to the adapter first.
	Hops []I2CHop
}

// I2CHop is one channel of a TCA9548A or PCA9548A.
type I2CHop struct {
	Address uint16
	Channel int
}

// String is the hop as a configuration has it: "0x70:3".
func (h I2CHop) String() string { return fmt.Sprintf("0x%02x:%d", h.Address, h.Channel) }

// String is the path as messages show it: "i2c1", "i2c1/0x70:3". Two paths to one bus give the same, unless one names the adapter and the other has
// its number.
func (p I2CPath) String() string {
	var s strings.Builder
	s.WriteString(p.root())
	for _, h := range p.Hops {
		s.WriteString("/" + h.String())
	}
	return s.String()
}

// root is String without the hops.
func (p I2CPath) root() string {
	if p.Adapter != "" {
		return byName + p.Adapter
	}
	return fmt.Sprintf("i2c%d", p.Number)
}

// ParseI2C returns the bus that a configuration calls "1", "I2C1", "i2c-1" or "/dev/i2c-1". "1/0x70:3" is channel 3 of the multiplexer
// at 0x70 of that bus, "1/0x70:3/0x71:0" one behind it. In place of the number, "name:i2c-tiny-usb" takes the adapter whose name begins so: the
// number of a USB adapter may be another after it was plugged in again.
func ParseI2C(name string) (I2CPath, error) {
	root, hops, muxed := cutHops(name)
	var p I2CPath
	var err error
	if adapter, ok := strings.CutPrefix(root, byName); ok {
		p.Adapter = adapter
		if adapter == "" || adapter != strings.TrimSpace(adapter) {
			return I2CPath{}, fmt.Errorf("i2c bus %q: want the beginning of an adapter's name after %q, such as \"name:i2c-tiny-usb\"", name, byName)
		}
	} else if p.Number, err = I2CNumber(root); err != nil {
		return I2CPath{}, fmt.Errorf("i2c bus %q: want a number such as \"1\", or \"/dev/i2c-1\", or \"name:\" and the adapter's name; behind a multiplexer \"1/0x70:3\"", name)
	}
	if !muxed {
		return p, nil
	}
	for text := range strings.SplitSeq(hops, "/") {
		h, err := parseHop(text)
		if err != nil {
			return I2CPath{}, fmt.Errorf("i2c bus %q: %w", name, err)
		}
		if slices.ContainsFunc(p.Hops, func(o I2CHop) bool { return o.Address == h.Address }) {
			return I2CPath{}, fmt.Errorf("i2c bus %q: two multiplexers behind each other cannot both be at 0x%02x: both would answer", name, h.Address)
		}
		p.Hops = append(p.Hops, h)
	}
	return p, nil
}

// cutHops cuts a name before its multiplexers. The name of an adapter may have a slash, too.
func cutHops(name string) (root, hops string, muxed bool) {
	if strings.HasPrefix(name, byName) {
		root, hops, muxed = strings.Cut(name, "/0x")
		return root, "0x" + hops, muxed
	}
	rest := strings.TrimPrefix(name, "/dev/")
	dev := name[:len(name)-len(rest)]
	root, hops, muxed = strings.Cut(rest, "/")
	return dev + root, hops, muxed
}

func parseHop(text string) (I2CHop, error) {
	address, channel, _ := strings.Cut(text, ":")
	hex, ok := strings.CutPrefix(address, "0x")
	a, err := strconv.ParseUint(hex, 16, 8)
	if !ok || err != nil || a < 0x70 || a > 0x77 {
		return I2CHop{}, fmt.Errorf("%q: want a multiplexer's address, 0x70 to 0x77, and its channel, such as \"0x70:3\"", text)
	}
	c, err := strconv.ParseUint(channel, 10, 8)
	if err != nil || c > 7 {
		return I2CHop{}, fmt.Errorf("%q: want a channel from 0 to 7 after the multiplexer's address, such as \"0x70:3\"", text)
	}
	return I2CHop{Address: uint16(a), Channel: int(c)}, nil
}

// I2CNumber returns the number of the bus that a configuration calls "1", "I2C1", "i2c-1" or "/dev/i2c-1".
func I2CNumber(name string) (int, error) {
	digits := strings.TrimPrefix(name, "/dev/")
	if len(digits) >= 3 && strings.EqualFold(digits[:3], "i2c") {
		digits = strings.TrimPrefix(digits[3:], "-")
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("i2c bus %q: want a number such as \"1\", or \"/dev/i2c-1\"", name)
	}
	return int(n), nil
}

// number returns the kernel's number of the adapter at this moment.
func (p I2CPath) number(root string) (int, error) {
	if p.Adapter == "" {
		return p.Number, nil
	}
	var found, all []string
	dirs, _ := filepath.Glob(filepath.Join(root, "sys/bus/i2c/devices/i2c-*")) // the pattern is a good one
	for _, dir := range dirs {
		name, err := ReadAttr(filepath.Join(dir, "name"))
		if err != nil {
			continue // it was unplugged meanwhile
		}
		bus := filepath.Base(dir)
		if name == p.Adapter {
			return I2CNumber(bus)
		}
		all = append(all, fmt.Sprintf("%s %q", bus, name))
		if strings.HasPrefix(name, p.Adapter) {
			found = append(found, bus)
		}
	}
	switch {
	case len(found) == 1:
		return I2CNumber(found[0])
	case len(found) > 1:
		return 0, fmt.Errorf("%s: %s have names that begin so; write more of the name: this machine has %s", p.root(), strings.Join(found, " and "), strings.Join(all, ", "))
	case len(all) == 0:
		return 0, fmt.Errorf("%s: this machine has no i2c adapter at all: %w", p.root(), ErrAbsent)
	}
	return 0, fmt.Errorf("%s: no i2c adapter has a name that begins so, is it unplugged? This machine has %s: %w", p.root(), strings.Join(all, ", "), ErrAbsent)
}
