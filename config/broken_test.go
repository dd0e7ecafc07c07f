package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBroken holds what is said about every file of testdata/broken. Run it with -update to write the golden files anew,
// and read what changed.
func TestBroken(t *testing.T) {
	const least = 40
	names, err := filepath.Glob("testdata/broken/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob("testdata/broken/*/iotagent.toml")
	if err != nil {
		t.Fatal(err)
	}
	names = append(names, dirs...)
	if len(names) < least {
		t.Fatalf("%d broken files; want at least %d", len(names), least)
	}
	for _, name := range names {
		t.Run(strings.TrimPrefix(name, "testdata/broken/"), func(t *testing.T) { testBroken(t, name) })
	}
}

func testBroken(t *testing.T, name string) {
	f, err := Load(name, fakes())
	if err == nil {
		t.Fatalf("no mistake found in %s: %+v", name, f)
	}
	errs, ok := errors.AsType[Errors](err)
	if !ok || len(errs) == 0 || f != nil {
		t.Fatalf("got (%v, %T); want no file and some Errors", f, err)
	}
	for _, e := range errs {
		inFile(t, e)
	}
	got := strings.ReplaceAll(err.Error(), filepath.Dir(name)+"/", "") + "\n"
	if strings.Contains(got, "c2VjcmV0") {
		t.Errorf("a secret shows:\n%s", got)
	}
	golden := strings.TrimSuffix(name, ".toml") + ".golden"
	if update() {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files anew")
	os.Exit(m.Run())
}

func update() bool { return flag.Lookup("update").Value.String() == "true" }

// inFile checks that a mistake stands at a place that is in its file.
func inFile(t *testing.T, e *Error) {
	t.Helper()
	data, err := os.ReadFile(e.File)
	if err != nil {
		t.Fatal(err)
	}
	within(t, e, data)
}

func within(t *testing.T, e *Error, data []byte) {
	t.Helper()
	lines := strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n")
	if e.Line < 1 || e.Line > len(lines) {
		t.Fatalf("%v: the file has %d lines", e, len(lines))
	}
	if e.Column < 1 || e.Column > len([]rune(lines[e.Line-1]))+1 {
		t.Errorf("%v: the line has %d characters", e, len([]rune(lines[e.Line-1])))
	}
}
