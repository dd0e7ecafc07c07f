package report_test

import (
	"os"
	"path/filepath"
	"testing"

	"iotagent/bench/report"
)

func TestTable(t *testing.T) {
	tab := report.Table{Head: []string{"store", "µs"}}
	tab.Add("outbox", report.Number(1234567))
	tab.Add("÷", report.Number(0.5))
	want := "| store  |        µs |\n|--------|----------:|\n| outbox | 1 234 567 |\n| ÷      |      0.50 |\n"
	if got := tab.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0123: "0.012", 9.876: "9.88", 99.94: "99.9", 999.6: "1 000", 1e6: "1 000 000", -1234: "-1 234",
	} {
		if got := report.Number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestUpdate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.md")
	doc := "# X\n<!-- figures:begin a -->\nold\n<!-- figures:end a -->\nmore\n<!-- figures:begin b -->\n<!-- figures:end b -->\n"
	if err := os.WriteFile(name, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"a", "b", "a"} {
		if err := report.Update(name, part, "new "+part+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	want := "# X\n<!-- figures:begin a -->\nnew a\n<!-- figures:end a -->\nmore\n<!-- figures:begin b -->\nnew b\n<!-- figures:end b -->\n"
	if got, _ := os.ReadFile(name); string(got) != want {
		t.Errorf("got\n%s", got)
	}
	if err := report.Update(name, "c", ""); err == nil {
		t.Error("no markers, and no error")
	}
}
