package gpioline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrUnknown says that no line has that name now; its chip may come later.
var ErrUnknown = errors.New("no such line")

// Line is a line that was found by a name.
type Line struct {
	Chip Chip
	Info
	root string // of the tree it was found in
}

// String names the line in every way it has, the best known first: "GPIO17 (P1_11, gpiochip0:17)".
func (l Line) String() string {
	var names []string
	if l.Chip.OnHeader() && l.Offset < 28 {
		names = []string{fmt.Sprintf("GPIO%d", l.Offset), HeaderPin(l.Offset)}
	}
	if l.Name != "" && !slices.Contains(names, l.Name) {
		names = append(names, l.Name)
	}
	if len(names) == 0 && l.Chip.Label != "" {
		names = []string{fmt.Sprintf("%s:%d", l.Chip.Label, l.Offset)}
	}
	names = append(names, fmt.Sprintf("%s:%d", l.Chip.Name, l.Offset))
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("%s (%s)", names[0], strings.Join(names[1:], ", "))
}

// CheckName says what is wrong with the name of a line, as far as that shows without looking at the machine; nil when nothing is.
func CheckName(name string) error {
	chip, line, both := split(name)
	switch {
	case name == "":
		return errors.New(`is missing: want a line's name such as "GPIO17", a header pin such as "P1_11", or a chip and a line such as "gpiochip0:17"`)
	case strings.TrimSpace(name) != name || len(name) > 80 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
		return fmt.Errorf("%q is no name of a line", name)
	case both && (chip == "" || line == ""):
		return fmt.Errorf(`%q: want CHIP:LINE, such as "gpiochip0:17"`, name)
	case strings.HasPrefix(name, "/dev/") && !both:
		return fmt.Errorf(`%q names a chip: want its line too, such as "%s:17"`, name, name)
	}
	_, _, err := headerLine(name)
	return err
}

// SameName reports whether two names are sure to mean one line, as far as that shows without looking at the machine: "GPIO17" and "P1_11".
func SameName(a, b string) bool { return plain(a) == plain(b) }

// plain returns one of the names that mean one line.
func plain(name string) string {
	if line, ok, err := headerLine(name); ok && err == nil {
		return fmt.Sprintf("GPIO%d", line)
	}
	return strings.TrimPrefix(name, "/dev/")
}

// split cuts CHIP:LINE. A label may hold a colon, a number cannot.
func split(name string) (chip, line string, ok bool) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return "", name, false
	}
	return strings.TrimPrefix(name[:i], "/dev/"), name[i+1:], true
}

// Find returns the line that a name means on the machine whose dev lies in root. It asks the kernel and changes no line. The name is that
// of the line, "GPIO17" or "P1_11" of a Raspberry Pi's header, or the name, path or label of a chip with the number or name of a line.
func Find(root, name string) (Line, error) {
	if err := CheckName(name); err != nil {
		return Line{}, fmt.Errorf("pin %w", err)
	}
	if strings.HasPrefix(name, "P1_") && shortHeader(root) {
		return Line{}, fmt.Errorf(`pin %q: this board has the header of 26 pins, which differs: name the line, such as "GPIO17"`, name)
	}
	chips, unread := Chips(root)
	l, err := find(chips, name)
	l.root = root
	if err != nil && unread != nil {
		err = fmt.Errorf("%w; and %w", err, unread)
	}
	return l, err
}

// Chips returns the chips that could be read, and why others could not. It changes nothing.
func Chips(root string) ([]Chip, error) {
	paths, err := filepath.Glob(filepath.Join(root, "dev", "gpiochip*"))
	if err != nil {
		return nil, err
	}
	var chips []Chip
	var errs []error
	links := map[string][]string{}
	for _, p := range paths {
		if info, err := os.Lstat(p); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if to, err := filepath.EvalSymlinks(p); err == nil {
				links[filepath.Base(to)] = append(links[filepath.Base(to)], filepath.Base(p))
			}
			continue
		}
		c, err := ReadChip(p)
		if err != nil {
			errs = append(errs, allow(err))
			continue
		}
		chips = append(chips, c)
	}
	for i, c := range chips {
		chips[i].Links = links[c.Name]
	}
	return chips, errors.Join(errs...)
}

// matches returns every line that the name may mean.
func matches(chips []Chip, name string) (found []Line, chipSeen bool) {
	chipName, lineName, both := split(name)
	number, onHeader, _ := headerLine(name)
	for _, c := range chips {
		here := both && (c.Name == chipName || c.Label == chipName || slices.Contains(c.Links, chipName))
		chipSeen = chipSeen || here
		for _, l := range c.Lines {
			if l.Name == name ||
				onHeader && c.OnHeader() && int(l.Offset) == number ||
				here && (l.Name == lineName || strconv.Itoa(int(l.Offset)) == lineName) {
				found = append(found, Line{Chip: c, Info: l})
			}
		}
	}
	return found, chipSeen
}
