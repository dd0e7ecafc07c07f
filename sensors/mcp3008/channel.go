package mcp3008

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// inputs are what can be measured, at the codes that the chip has for them (table 5-2).
func inputs() []string {
	return []string{
		"CH0-CH1", "CH1-CH0", "CH2-CH3", "CH3-CH2", "CH4-CH5", "CH5-CH4", "CH6-CH7", "CH7-CH6",
		"CH0", "CH1", "CH2", "CH3", "CH4", "CH5", "CH6", "CH7",
	}
}

// grounded are the eight inputs that are measured against ground.
func grounded() []string { return inputs()[8:] }

// withDefaults fills in what the configuration does not say.
func withDefaults(channels []Channel) []Channel {
	channels = slices.Clone(channels)
	if len(channels) == 0 {
		for _, input := range grounded() {
			channels = append(channels, Channel{Input: input})
		}
	}
	for i := range channels {
		if c := &channels[i]; c.Name == "" {
			c.Name = strings.ReplaceAll(strings.ToLower(c.Input), "-", "_") + "_volts"
		}
	}
	return channels
}

// validateChannels checks the blocks, each for itself and for what another has already.
func validateChannels(channels []Channel, bad func(key, msg string)) {
	name := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*_volts$`)
	var usedInputs, usedNames []string
	for i, c := range channels {
		key := func(k string) string { return fmt.Sprintf("channel[%d].%s", i, k) }
		full := withDefaults(channels[i : i+1])[0]
		switch {
		case !slices.Contains(inputs(), c.Input):
			bad(key("input"), fmt.Sprintf(`want "CH0" to "CH7", or the difference of a pair such as "CH0-CH1" or "CH1-CH0", got %q`, c.Input))
		case slices.Contains(usedInputs, c.Input):
			bad(key("input"), fmt.Sprintf("%q stands in another channel already", c.Input))
		case !name.MatchString(full.Name):
			bad(key("name"), fmt.Sprintf(`want lower case words that end in _volts, such as "level_volts", got %q`, c.Name))
		case slices.Contains(usedNames, full.Name):
			bad(key("name"), fmt.Sprintf("%q is the name of another channel already", full.Name))
		}
		usedInputs, usedNames = append(usedInputs, c.Input), append(usedNames, full.Name)
	}
}
