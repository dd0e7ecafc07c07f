package gpiocmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/gpio"
)

type kind uint8

const (
	setLevel kind = iota + 1
	toggle
	pulse
)

// action is what a message asks for.
type action struct {
	kind  kind
	level gpio.Level
	pulse time.Duration
}

const pulseMax = time.Hour

var errUsage = errors.New(`want exactly one of {"level":"high"|"low"}, {"toggle":true}, {"pulse":"500ms"}`)

// parse reads the arguments key by key: encoding/json would take the last of two values for one key, and what a relay does must not
// depend on that.
func parse(args json.RawMessage) (action, error) {
	var a action
	dec := json.NewDecoder(bytes.NewReader(args))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return a, errUsage
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return a, err
		}
		if a.kind != 0 {
			return a, errUsage
		}
		if a, err = parseOne(key, dec); err != nil {
			return a, err
		}
	}
	if a.kind == 0 {
		return a, errUsage
	}
	return a, nil
}

func parseOne(key json.Token, dec *json.Decoder) (a action, err error) {
	value, err := dec.Token()
	if err != nil {
		return a, err
	}
	switch key {
	case "level":
		a.kind = setLevel
		s, _ := value.(string)
		if a.level, err = parseLevel(s); err != nil {
			return a, fmt.Errorf(`level: want "high" or "low", got %v`, value)
		}
	case "toggle":
		a.kind = toggle
		if value != true {
			return a, fmt.Errorf("toggle: want true, got %v", value)
		}
	case "pulse":
		a.kind = pulse
		s, _ := value.(string)
		a.pulse, err = time.ParseDuration(s)
		if err != nil || a.pulse <= 0 || a.pulse > pulseMax {
			return a, fmt.Errorf(`pulse: want a time in quotes such as "500ms", at most 1h, got %v`, value)
		}
	default:
		return a, fmt.Errorf("unknown key %q: %w", key, errUsage)
	}
	return a, nil
}
