package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSuggest(t *testing.T) {
	known := []string{"host", "device_id", "timeout", "max_bytes", "interval", "pin"}
	for word, want := range map[string]string{
		"host": "host", "Host": "host", "hots": "host", "hostname": "host", "device-id": "device_id", "DeviceID": "device_id",
		"timeout_s": "timeout", "bytes": "max_bytes", "intervall": "interval", "pni": "", "pins": "pin", "p": "", "": "", "flavour": "",
	} {
		if got := suggest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"abc", "abc", 0}, {"bme28O", "bme280", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 2}} {
		if got := distance(tc.a, tc.b); got != tc.want || distance(tc.b, tc.a) != tc.want {
			t.Errorf("%q to %q: got %d and %d, want %d", tc.a, tc.b, got, distance(tc.b, tc.a), tc.want)
		}
	}
}

// loud is text that judges itself.
type loud string

func (l *loud) UnmarshalText(text []byte) error {
	if *l = loud(text); strings.ToUpper(string(text)) != string(text) {
		return errors.New("want it in capitals")
	}
	return nil
}

type base struct {
	Loud loud `toml:"loud"`
}

type fieldKinds struct {
	base
	Wait   time.Duration      `toml:"wait"`
	Small  int8               `toml:"small"`
	Big    uint64             `toml:"big"`
	Many   []uint16           `toml:"many"`
	Floats map[string]float64 `toml:"floats"`
	Any    any                `toml:"any"`
	Skip   string             `toml:"-"`
	Plain  string
}

func TestDecodeKinds(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"small = -128", ""},
		{"small = -0x1", "1:9: small: a number that begins with 0x, 0o or 0b has digits behind it and no sign"},
		{"small = 128", "1:9: small: want a whole number from -128 to 127, got 128"},
		{"big = 9223372036854775807", ""},
		{"big = -1", "1:7: big: want a whole number from 0 to 9223372036854775807, got -1"},
		{"many = [0x76, 0o17, 0b11, 1_000]", ""},
		{"many = [1, 65536]", "1:12: many[1]: want a whole number from 0 to 65535, got 65536"},
		{"many = [[1]]", "1:8: many[0]: want a whole number, got a list"},
		{"floats = { a = 1, b = 0x10, c = -1.5e3, d = 1_0.5 }", ""},
		{"floats = { a = inf }", "1:16: floats.a: want a finite number, got inf"},
		{"loud = \"LOUD\"", ""},
		{"loud = \"quiet\"", "1:8: loud: want it in capitals"},
		{"loud = 1", "1:8: loud: want text in quotes, got 1"},
		{"wait = 30", "1:8: wait: cannot be set in a file (a mistake in the program: the field is a time.Duration)"},
		{"any = 30", "1:7: any: cannot be set in a file (a mistake in the program: the field is a interface {})"},
		{"Skip = \"x\"", "1:1: Skip: unknown key; known: any, big, floats, loud, many, small, wait"},
		{"Plain = \"x\"", "1:1: Plain: unknown key; known: any, big, floats, loud, many, small, wait"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			ps := &problems{}
			src, _ := newSource("f", []byte(tc.text), ps)
			root, whole := parse(src, ps)
			if whole {
				var k fieldKinds
				(&decoder{ps: ps, guessed: map[string]bool{}}).table(root, "", &k)
			}
			got := strings.ReplaceAll(ps.found.Error(), "f:", "")
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestManyMistakes(t *testing.T) {
	var text strings.Builder
	for i := range 2 * maxProblems {
		fmt.Fprintf(&text, "unknown%d = 1\n", i)
	}
	_, err := Parse("f", []byte(text.String()), nil)
	if errs, ok := errors.AsType[Errors](err); !ok || len(errs) != maxProblems {
		t.Errorf("got %d mistakes, want %d", len(errs), maxProblems)
	}
}

func TestErrorsUnwrap(t *testing.T) {
	_, err := Parse("f", []byte("[hub]\nport = \"x\"\n[agent]\nlog_level = 1\n"), nil)
	e, ok := errors.AsType[*Error](err)
	if !ok || e.File != "f" || e.Line != 1 || e.Key != "hub" {
		t.Errorf("got %+v; want the first mistake", e)
	}
}
