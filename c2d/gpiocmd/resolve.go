package gpiocmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"

	"iotagent/internal/gpioline"
)

// splitPin cuts CHIP:LINE.
func splitPin(pin string) (chip, line string, ok bool) { return strings.Cut(pin, ":") }

// resolve finds the line that a pin means. It asks the kernel and changes no line.
func resolve(root, pin string) (gpioline.Chip, gpioline.Info, error) {
	chips, unread := readChips(root)
	chip, line, err := find(chips, pin)
	if err != nil && unread != nil {
		err = fmt.Errorf("%w; and %w", err, unread)
	}
	return chip, line, err
}

// readChips returns the chips that could be read, and why others could not.
func readChips(root string) ([]gpioline.Chip, error) {
	paths, err := filepath.Glob(filepath.Join(root, "dev", "gpiochip*"))
	if err != nil {
		return nil, err
	}
	var chips []gpioline.Chip
	var errs []error
	for _, p := range paths {
		// Some boards keep an old number of a chip as a link: the line would be there twice.
		if info, err := os.Lstat(p); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			continue
		}
		c, err := gpioline.ReadChip(p)
		if err != nil {
			errs = append(errs, allow(err))
			continue
		}
		chips = append(chips, c)
	}
	return chips, errors.Join(errs...)
}

// find picks the line of that name, or CHIP:LINE by the names, label and numbers of both.
func find(chips []gpioline.Chip, pin string) (gpioline.Chip, gpioline.Info, error) {
	chipName, lineName, both := splitPin(pin)
	if !both {
		lineName = pin
	}
	var chip gpioline.Chip
	var line gpioline.Info
	var found []string
	chipSeen := false
	for _, c := range chips {
		if both && c.Name != chipName && c.Label != chipName {
			continue
		}
		chipSeen = true
		for _, l := range c.Lines {
			if l.Name == lineName || (both && strconv.Itoa(int(l.Offset)) == lineName) {
				chip, line = c, l
				found = append(found, fmt.Sprintf("%s:%d", c.Name, l.Offset))
			}
		}
	}
	switch {
	case len(found) == 1:
		return chip, line, nil
	case len(found) > 1:
		return chip, line, fmt.Errorf("pin %q is not one line: say which of %s", pin, strings.Join(found, ", "))
	case len(chips) == 0:
		return chip, line, fmt.Errorf(`pin %q: this machine shows no GPIO chip under /dev; "sim" is a pin for such machines`, pin)
	case !chipSeen:
		return chip, line, fmt.Errorf("pin %q: no chip %q; there are %s", pin, chipName, chipNames(chips))
	}
	return chip, line, fmt.Errorf("pin %q: no such line%s; there are %s", pin, near(chips, lineName), chipNames(chips))
}

func chipNames(chips []gpioline.Chip) string {
	names := make([]string, len(chips))
	for i, c := range chips {
		names[i] = fmt.Sprintf("%s (%s, lines 0 to %d)", c.Name, c.Label, len(c.Lines)-1)
	}
	return strings.Join(names, ", ")
}

// near offers names that differ in letter case, or that begin or end alike.
func near(chips []gpioline.Chip, name string) string {
	const most = 5
	var same, like []string
	for _, c := range chips {
		for _, l := range c.Lines {
			a, b := strings.ToLower(l.Name), strings.ToLower(name)
			switch {
			case a == "" || b == "":
			case a == b || strings.HasSuffix(a, "_"+b):
				same = append(same, strconv.Quote(l.Name))
			case strings.HasPrefix(a, b), strings.HasPrefix(b, a), strings.HasSuffix(a, b):
				like = append(like, strconv.Quote(l.Name))
			}
		}
	}
	all := slices.Compact(append(same, like...))
	if len(all) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(all[:min(len(all), most)], " or ") + "?"
}

// allow says how to get the permission that is missing.
func allow(err error) error {
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: its user must be in the group gpio (usermod -aG gpio USER), and the device must belong to that group", err)
	}
	return err
}

// idleLevel is the level of a line that nobody holds, where it is known: from the line's own bias, or from the pulls that a Raspberry Pi's
// pins have after a reset (BCM2835 ARM Peripherals, table 6-31: 0 to 8 up, 9 to 27 down; the later chips kept them).
func idleLevel(label string, line gpioline.Info) (level gpio.Level, known bool) {
	switch {
	case line.Flags&gpioline.FlagUsed != 0: // its flags are those of who holds it
	case line.Flags&gpioline.FlagBiasPullUp != 0:
		return gpio.High, true
	case line.Flags&gpioline.FlagBiasPullDown != 0:
		return gpio.Low, true
	}
	if strings.HasPrefix(label, "pinctrl-bcm2") || label == "pinctrl-rp1" {
		return gpio.Level(line.Offset <= 8), line.Offset <= 27
	}
	return gpio.Low, false
}
