// Package quantity holds the values that a configuration file writes as quoted text with a unit:
// durations ("30s") and sizes ("256MiB").
//
// Decoding never fails: what is wrong with the text is kept in the value and asked for with Problem,
// so that the config package can report every mistake of a file in one run, each with its position.
package quantity

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration written as quoted text such as "500ms", "30s" or "1h30m".
// The zero value is 0 and has no problem.
type Duration struct {
	time.Duration
	problem string
}

// Seconds returns a Duration of n seconds; it is for defaults.
func Seconds(n int) Duration { return Duration{Duration: time.Duration(n) * time.Second} }

// Problem says what was wrong with the decoded text, or "".
func (d Duration) Problem() string { return d.problem }

// UnmarshalTOMLText sets d from the text of a TOML value as it stands in the file, quotes included.
func (d *Duration) UnmarshalTOMLText(raw string) {
	text, quoted := unquote(raw)
	v, err := time.ParseDuration(text)
	if !quoted || err != nil || v < 0 {
		*d = Duration{problem: fmt.Sprintf(`want a duration in quotes such as "30s" or "5m", got %s`, text)}
		return
	}
	*d = Duration{Duration: v}
}

// Bytes is a size in bytes written as quoted text such as "4096B", "64KiB" or "256MiB".
// The zero value is 0 and has no problem.
type Bytes struct {
	N       int64
	problem string
}

// Problem says what was wrong with the decoded text, or "".
func (b Bytes) Problem() string { return b.problem }

// String returns the size in the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range units {
		if u.factor > 1 && b.N != 0 && b.N%u.factor == 0 {
			return strconv.FormatInt(b.N/u.factor, 10) + u.name
		}
	}
	return strconv.FormatInt(b.N, 10) + "B"
}

type unit struct {
	name   string
	factor int64
}

// units are tried in this order: the longer name first, and "B" last.
var units = [...]unit{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// UnmarshalTOMLText sets b from the text of a TOML value as it stands in the file, quotes included.
func (b *Bytes) UnmarshalTOMLText(raw string) {
	text, quoted := unquote(raw)
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if quoted && err == nil && n >= 0 && n <= (1<<62)/u.factor {
			*b = Bytes{N: n * u.factor}
			return
		}
		break
	}
	*b = Bytes{problem: fmt.Sprintf(`want a size in quotes such as "64KiB" or "256MiB", got %s`, text)}
}

func unquote(raw string) (text string, quoted bool) {
	if len(raw) >= 2 && (raw[0] == '"' || raw[0] == '\'') && raw[len(raw)-1] == raw[0] {
		return raw[1 : len(raw)-1], true
	}
	return raw, false
}
