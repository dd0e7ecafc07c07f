package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iotagent/config"
	"iotagent/sensors"
)

// docs/sensors.md names every word of a [[sensor]], and its examples are right.
func TestSensorWordsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/sensors.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(examples) < 4 {
		t.Errorf("%d examples", len(examples))
	}
	for _, e := range examples {
		if _, err := config.Parse("sensors.md", fmt.Appendf(nil, "[hub]\nconnection_string_file = \"cs\"\n%s", e[1]), configOptions()); err != nil {
			t.Errorf("%v\n%s", err, e[1])
		}
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[a-z_]+`(?:, `[a-z_]+`)*) \\|").FindAllSubmatch(text, -1) {
		for _, key := range regexp.MustCompile("[a-z_]+").FindAll(row[1], -1) {
			documented = append(documented, string(key))
		}
	}
	words := keysOf(reflect.TypeFor[sensors.Common]())
	slices.Sort(words)
	slices.Sort(documented)
	if diff := cmp.Diff(words, documented); diff != "" {
		t.Errorf("-has +documented:\n%s", diff)
	}
}

func keysOf(typ reflect.Type) []string {
	var keys []string
	for f := range typ.Fields() {
		if f.Anonymous {
			keys = append(keys, keysOf(f.Type)...)
		} else {
			keys = append(keys, f.Tag.Get("toml"))
		}
	}
	return keys
}
