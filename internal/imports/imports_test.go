// Package imports_test holds the import direction of ARCHITECTURE.md against what the packages really import.
package imports_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "iotagent/"

// A rule says which packages of ours the packages it covers may import. A name covers exactly that package, a name
// that ends in "/" all packages below it. The first rule that covers a package counts.
type rule struct {
	covers string
	may    []string
}

// From the programs down to the leaves; every list is what ARCHITECTURE.md puts below that package.
func rules() []rule {
	device := []string{
		"agent", "config", "iothub", "iothub/sas", "iothub/transport", "c2d", "c2d/", "sensors", "sensors/", "outbox", "outbox/", "internal/",
	}
	return []rule{
		{"cmd/iotagent", append([]string{"cmd/iotagent/"}, device...)},
		{"cmd/iotagent/", append([]string{"cmd/iotagent/"}, device...)},
		{"cmd/hubctl", []string{"iothub/service", "iothub", "iothub/sas", "internal/"}},
		{"cmd/hubsim", []string{"hubsim", "hubsim/", "iothub/sas", "internal/"}},
		{"agent/patience", []string{"iothub", "internal/"}},
		{"agent", append([]string{"agent/patience"}, device...)},
		{"agent/", device},
		{"config", []string{"iothub", "iothub/sas", "iothub/transport", "c2d", "sensors", "outbox", "internal/"}},
		{"hubsim/amqpd", []string{"internal/"}},
		{"hubsim", []string{"hubsim/", "iothub/sas", "internal/"}},
		{"iothub/service", []string{"iothub", "iothub/sas", "internal/"}},
		{"iothub/sas", []string{"internal/"}},
		{"iothub/transport", []string{"internal/"}},
		{"iothub", []string{"iothub/sas", "iothub/transport", "internal/"}},
		{"c2d/all", []string{"c2d", "c2d/", "internal/"}},
		{"c2d/", []string{"c2d", "internal/"}},
		{"c2d", []string{"internal/"}},
		{"sensors/all", []string{"sensors", "sensors/", "internal/"}},
		{"sensors/", []string{"sensors", "internal/"}},
		{"sensors", []string{"internal/"}},
		{"outbox/internal/boltfile", []string{"internal/"}},
		{"outbox/internal/segment", []string{"outbox/internal/boltfile", "internal/"}},
		{"outbox/", []string{"outbox", "internal/"}},
		{"outbox", []string{"outbox/internal/", "internal/"}},
		{"internal/", []string{"internal/"}},
		{"interop/", nil},
		{"test/", device},
	}
}

func covers(pattern, pkg string) bool {
	if strings.HasSuffix(pattern, "/") {
		return strings.HasPrefix(pkg, pattern)
	}
	return pkg == pattern
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// violations returns each import of ours that the first covering rule does not name.
func violations(rules []rule, pkgs []goPackage) []string {
	var bad []string
	for _, p := range pkgs {
		pkg := strings.TrimPrefix(p.ImportPath, module)
		i := slices.IndexFunc(rules, func(r rule) bool { return covers(r.covers, pkg) })
		if i < 0 {
			bad = append(bad, pkg+" has no rule: say in this test and in .golangci.yml what it may import")
			continue
		}
		for _, imp := range p.Imports {
			name, ours := strings.CutPrefix(imp, module)
			if ours && !slices.ContainsFunc(rules[i].may, func(m string) bool { return covers(m, name) }) {
				bad = append(bad, pkg+" must not import "+name)
			}
		}
	}
	return bad
}

func TestImportsPointDown(t *testing.T) {
	pkgs := list(t, "./...")
	if len(pkgs) < 5 {
		t.Fatalf("go list found %d packages, so this test would prove nothing", len(pkgs))
	}
	for _, v := range violations(rules(), pkgs) {
		t.Error(v)
	}
}

// The programs on the gateway carry neither the simulated hub nor the cloud side, however they might come in.
func TestAgentLeavesOutTheOtherSide(t *testing.T) {
	for _, p := range list(t, "./cmd/iotagent") {
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, module+"hubsim") || dep == module+"iothub/service" {
				t.Errorf("%s links %s", p.ImportPath, dep)
			}
		}
	}
}

func TestViolationsAreFound(t *testing.T) {
	got := violations(rules(), []goPackage{
		{ImportPath: module + "outbox", Imports: []string{module + "sensors", module + "internal/clock", "fmt"}},
		{ImportPath: module + "sensors/bme280", Imports: []string{module + "sensors", module + "sensors/ds18b20"}},
		{ImportPath: module + "iothub", Imports: []string{module + "outbox"}},
		{ImportPath: module + "stray"},
	})
	want := []string{
		"outbox must not import sensors",
		"sensors/bme280 must not import sensors/ds18b20",
		"iothub must not import outbox",
		"stray has no rule: say in this test and in .golangci.yml what it may import",
	}
	if !slices.Equal(got, want) {
		t.Errorf("violations:\ngot  %q\nwant %q", got, want)
	}
}
