package execsensor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"iotagent/sensors"
)

// maxSamples is more than any message of the usual size holds.
const maxSamples = 64

var errNothing = errors.New("it printed nothing; want one number or one JSON object of numbers")

// parse reads what a program printed: a lone number, which is called sample, or an object of numbers.
func parse(text, sample string) ([]sensors.Sample, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, errNothing
	case text[0] == '{':
		return parseObject(text)
	}
	v, err := number(text)
	if err != nil {
		return nil, fmt.Errorf("it printed %w", err)
	}
	if sample == "" {
		return nil, fmt.Errorf("it printed the lone number %s: say what it is with sample = \"…\"", text)
	}
	return []sensors.Sample{{Name: sample, Value: v}}, nil
}

// number reads a number as JSON writes it, or with a plus before it.
func number(text string) (float64, error) {
	plain := strings.TrimPrefix(text, "+")
	if !regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`).MatchString(plain) {
		if regexp.MustCompile(`^-?[0-9]+,[0-9]+$`).MatchString(plain) {
			return 0, fmt.Errorf("%s: write a decimal point", text)
		}
		return 0, fmt.Errorf("%s, which is no number", shortened(text))
	}
	v, err := strconv.ParseFloat(plain, 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%s, which is too large for a number", shortened(text))
	}
	return v, nil
}

// parseObject reads an object of numbers in its order.
func parseObject(text string) ([]sensors.Sample, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if _, err := dec.Token(); err != nil { // the brace
		return nil, fmt.Errorf("its JSON: %w", err)
	}
	var samples []sensors.Sample
	for dec.More() {
		s, err := member(dec)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(samples, func(o sensors.Sample) bool { return o.Name == s.Name }) {
			return nil, fmt.Errorf("%q stands twice in its JSON", s.Name)
		}
		if samples = append(samples, s); len(samples) > maxSamples {
			return nil, fmt.Errorf("its JSON has more than %d values", maxSamples)
		}
	}
	if _, err := dec.Token(); err != nil { // the other brace
		return nil, fmt.Errorf("its JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it printed more than one JSON object")
	}
	if len(samples) == 0 {
		return nil, errors.New("its JSON has no values")
	}
	return samples, nil
}

// member reads one name and its number.
func member(dec *json.Decoder) (sensors.Sample, error) {
	key, err := dec.Token()
	if err != nil {
		return sensors.Sample{}, fmt.Errorf("its JSON: %w", err)
	}
	name, ok := key.(string)
	if !ok || !isSampleName(name) {
		return sensors.Sample{}, fmt.Errorf("%s: want a name in lower case that ends in its unit, such as \"level_percent\"", shortened(fmt.Sprintf("%q", key)))
	}
	value, err := dec.Token()
	if err != nil {
		return sensors.Sample{}, fmt.Errorf("its JSON, at %q: %w", name, err)
	}
	n, ok := value.(json.Number)
	if !ok {
		return sensors.Sample{}, fmt.Errorf("%q is %s: want numbers only, each with a name of its own", name, kind(value))
	}
	v, err := number(n.String())
	if err != nil {
		return sensors.Sample{}, fmt.Errorf("%q is %w", name, err)
	}
	return sensors.Sample{Name: name, Value: v}, nil
}

// kind names a value of JSON that is no number.
func kind(value any) string {
	switch v := value.(type) {
	case json.Delim:
		if v == '[' {
			return "a list"
		}
		return "an object"
	case string:
		return "text"
	case bool:
		return "true or false"
	}
	return "null"
}

// shortened keeps an error readable whatever was printed.
func shortened(text string) string {
	text, _, more := strings.Cut(text, "\n")
	if r := []rune(text); len(r) > 60 {
		text, more = string(r[:60]), true
	}
	if more {
		text += "…"
	}
	return text
}
