package hwmon

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"iotagent/sensors"
)

// kind is a sort of channel.
type kind struct {
	prefix     string  // of its files
	name, unit string  // of its samples
	per        float64 // how many of the file's units make one of ours
	min, max   float64 // what lies beyond was never measured
}

func kinds() []kind {
	return []kind{
		{"temp", "temperature", "celsius", 1e3, -273.15, 3000},
		{"in", "voltage", "volts", 1e3, -100e3, 100e3},
		{"curr", "current", "amperes", 1e3, -100e3, 100e3},
		{"power", "power", "watts", 1e6, -1e9, 1e9},
		{"energy", "energy", "joules", 1e6, 0, 1e15},
		{"humidity", "humidity", "percent", 1e3, -10, 120},
		{"fan", "fan", "rpm", 1, 0, 1e6},
	}
}

// channel is one thing that a chip measures.
type channel struct {
	kind
	number        int
	input         string // its file
	fault, enable bool   // whether it has these files
	label         string
	sample        string // the name of its sample
}

// String is the channel as the kernel's files begin: "temp1".
func (c *channel) String() string { return c.prefix + strconv.Itoa(c.number) }

// channels lists what the chip has, by kind and number.
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
		if c == nil || strings.HasSuffix(file, "_average") && files[c.String()+"_input"] {
			continue
		}
		c.fault, c.enable = files[c.String()+"_fault"], files[c.String()+"_enable"]
		if label, err := sensors.ReadAttr(filepath.Join(dir, c.String()+"_label")); err == nil {
			c.label = label
		}
		all = append(all, c)
	}
	order := func(c *channel) int { return slices.Index(kinds(), c.kind) }
	slices.SortFunc(all, func(a, b *channel) int { return cmp.Or(order(a)-order(b), a.number-b.number) })
	name(all)
	return all, nil
}

// parse returns the channel of a file that holds a value, nil for other files.
func parse(file string) *channel {
	m := regexp.MustCompile(`^([a-z]+)(0|[1-9][0-9]{0,3})_(input|average)$`).FindStringSubmatch(file)
	if m == nil {
		return nil
	}
	i := slices.IndexFunc(kinds(), func(k kind) bool { return k.prefix == m[1] })
	if i < 0 || m[3] == "average" && m[1] != "power" {
		return nil
	}
	number, err := strconv.Atoi(m[2])
	if err != nil {
		return nil // the pattern leaves digits only
	}
	return &channel{kind: kinds()[i], number: number, input: file}
}

// name gives every channel its sample's name. Which channels are chosen makes no difference to it.
func name(all []*channel) {
	count := map[string]int{}
	for _, c := range all {
		c.sample = c.named(c.words()...)
		count[c.sample]++
	}
	for _, c := range all {
		if count[c.sample] > 1 {
			c.sample = c.named(append(c.words(), c.String())...)
		}
	}
}

func (c *channel) named(words ...string) string {
	return strings.Join(slices.Concat([]string{c.name}, words, []string{c.unit}), "_")
}

// words tell the channel from others of its kind.
func (c *channel) words() []string {
	words := strings.FieldsFunc(strings.ToLower(c.label), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	words = slices.DeleteFunc(words, func(w string) bool { return w == c.name })
	if len(words) == 0 && (c.number != 1 || c.prefix == "in") {
		return []string{strconv.Itoa(c.number)}
	}
	return words
}

// choose returns the configured channels in their order, or all.
func (c *Config) choose(all []*channel) ([]*channel, error) {
	if len(all) == 0 {
		return nil, fmt.Errorf("the chip has no channel that measures anything: %w", sensors.ErrAbsent)
	}
	chosen := all
	if len(c.Channels) > 0 {
		chosen = nil
	}
	for _, want := range c.Channels {
		found, err := pick(all, want)
		if err != nil {
			return nil, err
		}
		if slices.Contains(chosen, found) {
			return nil, fmt.Errorf("channel %q is %s, which is listed already", want, found)
		}
		chosen = append(chosen, found)
	}
	samples := map[string]*channel{}
	for _, ch := range chosen {
		if other := samples[ch.sample]; other != nil {
			return nil, fmt.Errorf("%s and %s would both be %s; choose one of them with channels = […]", other, ch, ch.sample)
		}
		samples[ch.sample] = ch
	}
	return chosen, nil
}

// pick returns the channel of that file name, otherwise that label.
func pick(all []*channel, want string) (*channel, error) {
	var found []*channel
	var known []string
	for _, c := range all {
		if c.String() == want {
			return c, nil
		}
		if c.label == want {
			found = append(found, c)
		}
		known = append(known, strings.TrimSpace(c.String()+" "+c.label))
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("no channel %q (found: %s): %w", want, strings.Join(known, ", "), sensors.ErrAbsent)
	default:
		return nil, fmt.Errorf("%d channels have the label %q (found: %s); name the one you mean by its file", len(found), want, strings.Join(known, ", "))
	}
}
