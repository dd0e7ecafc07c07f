package hubsim_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table in docs/hubsim.md names tests; each of them is there.
func TestConformanceTableNamesRealTests(t *testing.T) {
	table, err := os.ReadFile("../docs/hubsim.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, dir := range []string{"../hubsim", "../iothub", "../interop", "../cmd/hubctl"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.Name() == "node_modules":
				return fs.SkipDir
			case !strings.HasSuffix(path, "_test.go"):
				return nil
			}
			source, err := os.ReadFile(path)
			for _, m := range declared.FindAllSubmatch(source, -1) {
				there[string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(table, -1)
	if len(named) < 80 {
		t.Errorf("the table names %d tests, so this test would prove little", len(named))
	}
	for _, m := range named {
		if !there[string(m[1])] {
			t.Errorf("docs/hubsim.md names %s, which is not there", m[1])
		}
	}
}
