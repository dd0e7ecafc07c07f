package main

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"iotagent/config"
	"iotagent/internal/golden"
	"iotagent/sensors/scan"
)

// scanned is the report that docs/formats shows.
func scanned(t *testing.T) *scan.Report {
	t.Helper()
	text, err := os.ReadFile("../../docs/formats/scan.json")
	if err != nil {
		t.Fatal(err)
	}
	r := &scan.Report{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestScanForAPerson(t *testing.T) {
	var b bytes.Buffer
	if err := printScan(&b, scanned(t)); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/scan.txt", b.Bytes(), *update)
	b.Reset()
	if err := printScan(&b, &scan.Report{Advice: []string{"buy a sensor"}}); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/scan-empty.txt", b.Bytes(), *update)
}

// What is printed to be pasted is a configuration, and so is each block that stands behind #.
func TestScanComposesAConfiguration(t *testing.T) {
	const hub = "[hub]\nconnection_string_file = \"cs\"\n"
	parse := func(text string) *config.File {
		t.Helper()
		f, err := config.Parse("f", []byte(hub+text), configOptions())
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return f
	}
	text := scanned(t).Config
	if n := len(parse(text).Sensors); n != 5 {
		t.Errorf("%d sensors in\n%s", n, text)
	}
	blocks := strings.Split(text, "\n\n")
	for _, b := range blocks {
		on := regexp.MustCompile(`(?m)^# (\[\[|[a-z]+ = )`).ReplaceAllString(b, "$1")
		if n := len(parse(on).Sensors); n != 1 {
			t.Errorf("%d sensors in\n%s", n, on)
		}
	}
}

func TestLinesWithoutNamesAreCountedTogether(t *testing.T) {
	lines := []scan.Line{{Offset: 0}, {Offset: 1}, {Offset: 2}, {Offset: 4}, {Offset: 5, Name: "LED"}, {Offset: 6, Consumer: "reset"}, {Offset: 7}}
	if got, want := strings.Join(lineTexts(lines), ", "), "0–2, 4, LED, 6 by reset, 7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
