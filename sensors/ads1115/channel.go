package ads1115

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// inputs are the pairs of pins that can be measured, at the codes that the chip has for them (8.1.3).
func inputs() []string { return []string{"A0-A1", "A0-A3", "A1-A3", "A2-A3", "A0", "A1", "A2", "A3"} }

// ranges are the ranges that the chip knows, in volts, at its codes.
func ranges() []float64 { return []float64{6.144, 4.096, 2.048, 1.024, 0.512, 0.256} }

const defaultRange = 4.096

// withDefaults fills in what the configuration does not say.
func withDefaults(channels []Channel) []Channel {
	if len(channels) == 0 {
		channels = []Channel{{Input: "A0"}, {Input: "A1"}, {Input: "A2"}, {Input: "A3"}}
	}
	channels = slices.Clone(channels)
	for i := range channels {
		c := &channels[i]
		if c.Name == "" {
			c.Name = strings.ReplaceAll(strings.ToLower(c.Input), "-", "_") + "_volts"
		}
		if c.RangeVolts == 0 {
			c.RangeVolts = defaultRange
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
			bad(key("input"), fmt.Sprintf(`want "A0", "A1", "A2", "A3", "A0-A1", "A0-A3", "A1-A3" or "A2-A3", got %q`, c.Input))
		case slices.Contains(usedInputs, c.Input):
			bad(key("input"), fmt.Sprintf("%q stands in another channel already", c.Input))
		case !name.MatchString(full.Name):
			bad(key("name"), fmt.Sprintf(`want lower case words that end in _volts, such as "level_volts", got %q`, c.Name))
		case slices.Contains(usedNames, full.Name):
			bad(key("name"), fmt.Sprintf("%q is the name of another channel already", full.Name))
		}
		if !slices.Contains(ranges(), full.RangeVolts) {
			bad(key("range_volts"), fmt.Sprintf("want 6.144, 4.096, 2.048, 1.024, 0.512 or 0.256, got %g", c.RangeVolts))
		}
		usedInputs, usedNames = append(usedInputs, c.Input), append(usedNames, full.Name)
	}
}

// settings is the configuration register's value for a conversion of this channel at that rate.
func (c Channel) settings(rate int) uint16 {
	mux, pga, dr := slices.Index(inputs(), c.Input), slices.Index(ranges(), c.RangeVolts), slices.Index(rates(), rate)
	return uint16(mux)<<12 | uint16(pga)<<9 | singleShot | uint16(dr)<<5 | polarity | comparatorOff
}

var errClipped = errors.New("beyond its range")

// decode turns the conversion register into volts (7.5.4). The last 4 bits tell nothing of an ADS1015, whose largest value is 0x7ff0.
func (c Channel) decode(reg uint16) (float64, error) {
	raw := int16(reg)
	if raw >= 0x7ff0 || raw == math.MinInt16 {
		return 0, fmt.Errorf("%s: %w of ±%g V; the wiring is wrong, or range_volts too small", c.Input, errClipped, c.RangeVolts)
	}
	microvolts := math.Round(c.RangeVolts * 1e6) // whole, so that only the last division rounds
	return float64(raw) * microvolts / 32768 / 1e6, nil
}
