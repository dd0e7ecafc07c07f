// Package docs_test holds what the documents claim of the tests against the tests that are there.
package docs_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// declared returns the test functions of every package, by the last part of its path.
func declared(t *testing.T, root string) map[string]map[string]bool {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	all := map[string]map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return fs.SkipDir
		case !strings.HasSuffix(file, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(file)
		pkg := path.Base(filepath.ToSlash(filepath.Dir(file)))
		for _, m := range function.FindAllSubmatch(source, -1) {
			if all[pkg] == nil {
				all[pkg] = map[string]bool{}
			}
			all[pkg][string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// named returns the tests that a document names, as "package Test": a package's name stands in front of the first of its tests in a line.
func named(text string, packages map[string]map[string]bool) (all []string) {
	word := regexp.MustCompile("(?:([a-z0-9]+) )?`((?:Test|Fuzz)\\w+)`")
	for line := range strings.Lines(text) {
		pkg := ""
		for _, m := range word.FindAllStringSubmatch(line, -1) {
			if packages[m[1]] != nil {
				pkg = m[1]
			}
			all = append(all, pkg+" "+m[2])
		}
	}
	return all
}

// Each test that a document names is there, in the package that it names.
func TestDocumentsNameRealTests(t *testing.T) {
	packages := declared(t, "../..")
	for doc, least := range map[string]int{"hubsim.md": 120, "link.md": 60} {
		text, err := os.ReadFile("../../docs/" + doc)
		if err != nil {
			t.Fatal(err)
		}
		all := named(string(text), packages)
		if len(all) < least {
			t.Errorf("docs/%s names %d tests, so this test would prove little", doc, len(all))
		}
		for _, name := range all {
			pkg, test, _ := strings.Cut(name, " ")
			if !packages[pkg][test] {
				t.Errorf("docs/%s names %s of package %q, which is not there", doc, test, pkg)
			}
		}
	}
}
