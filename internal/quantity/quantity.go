// Package quantity holds the values that a configuration file writes as quoted text with a unit:
// durations ("30s") and sizes ("256MiB").
//
// Decoding never fails: what is wrong with the text is kept in the value and asked for with Problem,
// so that the config package can report every mistake of a file in one run, each with its position.
package quantity

import (
	"math"
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

// String returns the duration without the units that are zero: "5m", not "5m0s".
func (d Duration) String() string {
	s := d.Duration.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// UnmarshalTOMLText sets d from the text of a TOML value as it stands in the file, quotes included.
func (d *Duration) UnmarshalTOMLText(raw string) {
	text, quoted := unquote(raw)
	v, err := time.ParseDuration(text)
	if !quoted || err != nil || v < 0 {
		*d = Duration{problem: `want a duration in quotes such as "500ms", "30s", "5m" or "24h", got ` + shown(text, quoted)}
		return
	}
	*d = Duration{Duration: v}
}

// UnmarshalText sets d from text that stood in quotes. It never fails; see Problem.
func (d *Duration) UnmarshalText(text []byte) error {
	d.UnmarshalTOMLText(`"` + string(text) + `"`)
	return nil
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
	for _, u := range units() {
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
func units() []unit {
	return []unit{
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"GB", 1e9},
		{"MB", 1e6},
		{"kB", 1e3},
		{"B", 1},
	}
}

// UnmarshalTOMLText sets b from the text of a TOML value as it stands in the file, quotes included.
func (b *Bytes) UnmarshalTOMLText(raw string) {
	text, quoted := unquote(raw)
	for _, u := range units() {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if quoted && err == nil && n >= 0 && n <= math.MaxInt64/u.factor {
			*b = Bytes{N: n * u.factor}
			return
		}
		break
	}
	*b = Bytes{problem: `want a size in quotes such as "4096B", "64KiB" or "256MiB", got ` + shown(text, quoted)}
}

// UnmarshalText sets b from text that stood in quotes. It never fails; see Problem.
func (b *Bytes) UnmarshalText(text []byte) error {
	b.UnmarshalTOMLText(`"` + string(text) + `"`)
	return nil
}

func unquote(raw string) (text string, quoted bool) {
	if len(raw) >= 2 && (raw[0] == '"' || raw[0] == '\'') && raw[len(raw)-1] == raw[0] {
		return raw[1 : len(raw)-1], true
	}
	return raw, false
}

// shown returns text as a message may quote it: short, on one line, with its quotes when it had them.
func shown(text string, quoted bool) string {
	const most = 40
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	text = strconv.Quote(text)
	if !quoted {
		text = text[1 : len(text)-1]
	}
	return text
}
