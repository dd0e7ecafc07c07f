package iio

import (
	"fmt"
	"slices"
	"strings"

	"iotagent/sensors"
)

// choose returns the configured channels in their order, or all.
func (c *Config) choose(all []*channel) ([]*channel, error) {
	if len(all) == 0 {
		return nil, fmt.Errorf("the device has no channel of a known unit: %w", sensors.ErrAbsent)
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
			return nil, fmt.Errorf("channel %q is %s, which is listed already", want, found.key)
		}
		chosen = append(chosen, found)
	}
	samples := map[string]*channel{}
	for _, ch := range chosen {
		if other := samples[ch.sample]; other != nil {
			return nil, fmt.Errorf("%s and %s would both be %s; choose one of them with channels = […]", other.key, ch.key, ch.sample)
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
		if c.key == want {
			return c, nil
		}
		if c.label == want {
			found = append(found, c)
		}
		known = append(known, strings.TrimSpace(c.key+" "+c.label))
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("no channel %q of a known unit (found: %s): %w", want, strings.Join(known, ", "), sensors.ErrAbsent)
	default:
		return nil, fmt.Errorf("%d channels have the label %q (found: %s); name the one you mean by its file", len(found), want, strings.Join(known, ", "))
	}
}
