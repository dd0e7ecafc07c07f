package hubsim

import (
	"fmt"
	"strconv"
	"strings"
)

// parseSelector reads the filter of a partition receiver, one comparison such as "amqp.annotation.x-opt-offset > '4096'", and returns what
// it says of an event. It holds for every event after the first that it holds for.
func parseSelector(text string) (func(*Event) bool, error) {
	fields := strings.Fields(spaceOperator(text))
	if len(fields) != 3 || (fields[1] != ">" && fields[1] != ">=") {
		return nil, fmt.Errorf("selector %q: want one comparison with > or >=", text)
	}
	name := strings.ToLower(strings.TrimPrefix(fields[0], "amqp.annotation."))
	n, err := strconv.ParseInt(strings.Trim(fields[2], "'"), 10, 64)
	latest := strings.Trim(fields[2], "'") == "@latest"
	if err != nil && !latest {
		return nil, fmt.Errorf("selector %q: %q is not a number", text, fields[2])
	}
	var of func(*Event) int64
	switch name {
	case "x-opt-sequence-number":
		of = func(e *Event) int64 { return e.Sequence }
	case "x-opt-offset":
		of = func(e *Event) int64 { return e.offset }
	case "x-opt-enqueued-time", "x-opt-enqueuedtimeutc":
		of = func(e *Event) int64 { return e.Enqueued.UnixMilli() }
	default:
		return nil, fmt.Errorf("selector %q: unknown annotation %q", text, name)
	}
	switch {
	case latest:
		return func(*Event) bool { return false }, nil
	case fields[1] == ">=":
		return func(e *Event) bool { return of(e) >= n }, nil
	}
	return func(e *Event) bool { return of(e) > n }, nil
}

// spaceOperator lets "a>1" be read like "a > 1".
func spaceOperator(text string) string {
	if i := strings.Index(text, ">="); i >= 0 {
		return text[:i] + " >= " + text[i+2:]
	}
	return strings.Replace(text, ">", " > ", 1)
}
