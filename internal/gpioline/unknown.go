package gpioline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// find picks the one line that the name means, or says why it is not one.
func find(chips []Chip, name string) (Line, error) {
	found, chipSeen := matches(chips, name)
	if len(found) == 1 {
		return found[0], nil
	}
	chipName, lineName, both := split(name)
	switch {
	case len(found) > 1:
		return Line{}, fmt.Errorf("pin %q is not one line: say which of %s", name, candidates(found))
	case len(chips) == 0:
		return Line{}, fmt.Errorf("pin %q: this machine shows no GPIO chip (/dev/gpiochip*): on a board its overlay or module is missing, in a container the device has to be passed in: %w", name, ErrUnknown)
	case both && !chipSeen:
		return Line{}, fmt.Errorf("pin %q: no chip %q; there are %s: %w", name, chipName, chipNames(chips), ErrUnknown)
	}
	return Line{}, fmt.Errorf("pin %q: %w%s; there are %s", name, ErrUnknown, near(chips, lineName), chipNames(chips))
}

// candidates lists lines in the form that tells them apart.
func candidates(found []Line) string {
	names := make([]string, len(found))
	for i, l := range found {
		names[i] = fmt.Sprintf("%s:%d (%s)", l.Chip.Name, l.Offset, l.Chip.Label)
	}
	return strings.Join(names, ", ")
}

func chipNames(chips []Chip) string {
	names := make([]string, len(chips))
	for i, c := range chips {
		names[i] = fmt.Sprintf("%s (%s, lines 0 to %d)", c.Name, c.Label, len(c.Lines)-1)
	}
	return strings.Join(names, ", ")
}

// near offers names that differ in letter case, or that begin or end alike.
func near(chips []Chip, name string) string {
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
