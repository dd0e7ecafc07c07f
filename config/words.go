package config

import (
	"regexp"
	"strings"
)

// inWords says in a technician's words what the TOML parser said in a programmer's.
func inWords(msg string) string {
	for _, w := range [...]struct{ has, say string }{
		{"expected '=' after key", `want key = value here, or a line [table]`},
		{"expected ']]' to close", `the closing "]]" is missing`},
		{"expected ']' to close", `the closing "]" is missing`},
		{"invalid character at start of key", `want a key, a [table] or a # comment here`},
		{"expected key but reached end", `the file ends in the middle of a key`},
		{"unterminated", `the closing quote is missing`},
		{"cannot have new lines", `the closing quote is missing on this line`},
		{"multiline basic string not terminated", `the closing """ is missing`},
		{"multiline literal string not terminated", `the closing ''' is missing`},
		{"escape", `a backslash begins an escape here; write \\ for a backslash, or put the text in single quotes`},
		{"after array value", `the list lacks a "," or its closing "]"`},
		{"array is incomplete", `the list lacks its closing "]"`},
		{"after inline table", `the table in braces lacks a "," or its closing "}"`},
		{"inline table is incomplete", `the table in braces lacks its closing "}"`},
		{"unexpected comma", `a comma too many`},
		{"expected value but got U+002C", `a comma too many`},
		{"radix prefix", `a number that begins with 0x, 0o or 0b has digits behind it and no sign`},
		{"leading zeroes", `a number must not begin with 0 (hexadecimal begins with 0x)`},
		{"too large to fit", `the number is too large`},
		{"carriage return", `a carriage return without a line feed; save the file with Unix or Windows line ends`},
		{"U+000D", `a carriage return without a line feed; save the file with Unix or Windows line ends`},
		{"control characters", `a control character; take it out`},
		{"expected newline", `nothing more may stand on this line`},
		{"expected value, not end", `the value is missing`},
	} {
		if strings.Contains(msg, w.has) {
			return w.say
		}
	}
	return msg
}

// unquoted returns a better message when the value, as written behind "=", is text without its quotes; otherwise "". It never repeats
// what is written but for a number with its unit.
func unquoted(msg, written string) string {
	written, _, _ = strings.Cut(written, "#")
	written = strings.TrimSpace(written)
	quotable := false
	for _, s := range []string{"expected newline", "at start of value", "expected keyword", "must be quoted", "expected digit", "number after sign"} {
		quotable = quotable || strings.Contains(msg, s)
	}
	switch {
	case written == "":
		return "the value is missing"
	case !quotable || strings.ContainsAny(written[:1], `"'[{`):
		return ""
	case followed().MatchString(written):
		return ""
	case measure().MatchString(written):
		return `want it in quotes: "` + written + `"`
	}
	switch strings.ToLower(written) {
	case "true", "false", "yes", "no", "on", "off":
		return "want true or false, in small letters"
	}
	return `text must stand in quotes: "…"`
}

// followed is a number with something behind it that is no part of it.
func followed() *regexp.Regexp { return regexp.MustCompile(`^[+-]?[0-9][0-9_.]*[ \t]*[,;]`) }

func measure() *regexp.Regexp { return regexp.MustCompile(`^[0-9][0-9.]{0,9} ?[a-zA-Z]{1,7}$`) }
