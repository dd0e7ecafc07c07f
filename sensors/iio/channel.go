package iio

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"iotagent/sensors"
)

// kind is a sort of channel whose unit is known.
type kind struct {
	typ        string  // in the names of its files
	name, unit string  // in those of its samples
	factor     float64 // from the kernel's unit to ours
	min, max   float64 // what lies beyond was never measured
}

func kinds() []kind {
	return []kind{
		{"temp", "temperature", "celsius", 1e-3, -273.15, 3000},
		{"pressure", "pressure", "pascals", 1e3, -1e9, 1e9}, // of differences, too
		{"humidityrelative", "humidity", "percent", 1e-3, -10, 120},
		{"voltage", "voltage", "volts", 1e-3, -100e3, 100e3},
		{"current", "current", "amperes", 1e-3, -100e3, 100e3},
		{"power", "power", "watts", 1e-3, -1e9, 1e9},
		{"energy", "energy", "joules", 1, 0, 1e15},
		{"resistance", "resistance", "ohms", 1, 0, 1e12},
		{"illuminance", "illuminance", "lux", 1, 0, 1e6},
		{"concentration", "concentration", "ppm", 1e4, 0, 1e6},
		{"distance", "distance", "meters", 1, 0, 1e6},
		{"ph", "acidity", "ph", 1, -2, 16},
	}
}

// channel is one thing that a device measures.
type channel struct {
	kind
	key           string   // its part of the file's name: "voltage0-voltage1"
	marks         []string // what stands in key beside the type: "0", "1", or "co2"
	numbered      bool     // the marks are numbers
	input         string   // its file
	scale, offset string   // theirs; "" where there is none, or the kernel has applied them
	label         string
	sample        string // the name of its sample
}

// channels lists what the device has, by kind and marks.
func channels(dir string) ([]*channel, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", sensors.ErrAbsent, err)
	}
	if err != nil {
		return nil, err
	}
	files := map[string]bool{}
	for _, e := range entries {
		files[e.Name()] = true
	}
	var all []*channel
	for file := range files {
		c := parse(file)
		if c == nil {
			continue
		}
		if strings.HasSuffix(file, "_raw") {
			if files["in_"+c.key+"_input"] {
				continue
			}
			c.scale, c.offset = c.companion(files, "scale"), c.companion(files, "offset")
		}
		if label, err := sensors.ReadAttr(filepath.Join(dir, "in_"+c.key+"_label")); err == nil {
			c.label = label
		}
		all = append(all, c)
	}
	slices.SortFunc(all, compare)
	name(all)
	return all, nil
}

// compare puts voltage2 before voltage10.
func compare(a, b *channel) int {
	order := func(c *channel) int { return slices.Index(kinds(), c.kind) }
	return cmp.Or(order(a)-order(b), slices.CompareFunc(a.marks, b.marks, func(x, y string) int {
		return cmp.Or(len(x)-len(y), strings.Compare(x, y))
	}), strings.Compare(a.key, b.key))
}

// parse returns the channel of a file that holds a value whose unit is known, nil for other files. The name is in_, a type, then a number,
// or a second input that is subtracted, then a modifier.
func parse(file string) *channel {
	m := regexp.MustCompile(`^in_(([a-z]+)([0-9]{0,4})(?:-([a-z]+)([0-9]{1,4}))?((?:_[a-z0-9]+)*?))_(raw|input)$`).FindStringSubmatch(file)
	if m == nil || m[4] != "" && (m[4] != m[2] || m[3] == "") {
		return nil
	}
	i := slices.IndexFunc(kinds(), func(k kind) bool { return k.typ == m[2] })
	modifier := strings.Trim(m[6], "_")
	if i < 0 || strings.HasSuffix(m[6], "_mean") || strings.HasSuffix(m[6], "_peak") {
		return nil // of unknown unit, or of values that have been, which share the scale of another
	}
	c := &channel{kind: kinds()[i], key: m[1], input: file, numbered: modifier == ""}
	for _, mark := range append([]string{m[3], m[5]}, strings.Split(modifier, "_")...) {
		if mark != "" {
			c.marks = append(c.marks, mark)
		}
	}
	return c
}

// companion returns the file that holds the scale or offset of a raw value: the channel's own, that of its type, of all inputs, or of
// everything. "" means that there is none.
func (c *channel) companion(files map[string]bool, what string) string {
	shared := c.typ
	if strings.Contains(c.key, "-") {
		shared = c.typ + "-" + c.typ
	}
	for _, file := range []string{"in_" + c.key + "_" + what, "in_" + shared + "_" + what, "in_" + what, what} {
		if files[file] {
			return file
		}
	}
	return ""
}

// name gives every channel its sample's name. Which channels are chosen makes no difference to it.
func name(all []*channel) {
	count := map[string]int{}
	for _, c := range all {
		c.sample = c.named(c.words())
		count[c.sample]++
	}
	for _, c := range all {
		if count[c.sample] > 1 && c.label != "" {
			c.sample = c.named(append(c.words(), c.marks...))
		}
	}
}

func (c *channel) named(words []string) string {
	if c.typ == "concentration" && !c.numbered && words[0] >= "a" {
		return strings.Join(append(words, c.unit), "_") // of what it is says enough: co2_ppm
	}
	return strings.Join(slices.Concat([]string{c.name}, words, []string{c.unit}), "_")
}

// words tell the channel from others of its kind: its label in place of a number, or its number and modifier.
func (c *channel) words() []string {
	words := strings.FieldsFunc(strings.ToLower(c.label), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	words = slices.DeleteFunc(words, func(w string) bool { return w == c.name })
	if len(words) == 0 || !c.numbered {
		return slices.Clone(c.marks)
	}
	return words
}
