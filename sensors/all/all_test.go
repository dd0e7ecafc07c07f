package all

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iotagent/sensors"
)

func TestDrivers(t *testing.T) {
	ds := Drivers()
	byType := func(a, b sensors.Driver) int { return strings.Compare(a.Type, b.Type) }
	if !slices.IsSortedFunc(ds, byType) {
		t.Error("the list is not in the order of the types")
	}
	seen := map[string]bool{}
	for _, d := range ds {
		if seen[d.Type] {
			t.Errorf("type %q stands twice", d.Type)
		}
		seen[d.Type] = true
	}
	// A folder with a sample.toml is a driver: none may be forgotten here.
	samples, err := filepath.Glob("../*/sample.toml")
	if err != nil || len(samples) == 0 {
		t.Fatalf("no samples found: %v", err)
	}
	for _, s := range samples {
		if name := filepath.Base(filepath.Dir(s)); !seen[name] {
			t.Errorf("driver %q is not in the list", name)
		}
		if text, err := os.ReadFile(s); err != nil || !strings.HasPrefix(string(text), "[[sensor]]\n") {
			t.Errorf("%s: %v; want it to begin with [[sensor]]", s, err)
		}
	}
}
