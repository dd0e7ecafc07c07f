package all

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iotagent/internal/golden"
	"iotagent/sensors"
)

var update = golden.Update() //nolint:gochecknoglobals // a flag

const pages = "../../docs/sensors"

// The pages of docs/sensors are what the drivers say of themselves; make golden writes them.
func TestPages(t *testing.T) {
	want := map[string]bool{"README.md": true}
	for _, d := range Drivers() {
		p := newPage(t, d)
		golden.Check(t, filepath.Join(pages, d.Type+".md"), p.markdown(), *update)
		want[d.Type+".md"] = true
	}
	golden.Check(t, filepath.Join(pages, "README.md"), index(), *update)
	found, err := filepath.Glob(pages + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if want[filepath.Base(f)] {
			continue
		}
		if !*update {
			t.Errorf("%s is of no driver; make golden takes it away", f)
		} else if err := os.Remove(f); err != nil {
			t.Error(err)
		}
	}
}

func index() []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Written by make golden from the drivers' own text. -->\n# Sensors\n\nA `[[sensor]]` table in the configuration makes one sensor; its `type` selects the driver. " +
		"`iotagent scan` finds what is connected, `iotagent read` takes readings.\n\n| type | reads | addresses on I²C |\n|---|---|---|\n")
	for _, d := range Drivers() {
		fmt.Fprintf(&b, "| [`%s`](%s.md) | %s | %s |\n", d.Type, d.Type, d.Doc, addresses(&d))
	}
	b.WriteString("\n[The words of every sensor](../sensors.md): schedule, calibration, limits and alarms, windows, deadbands, tags.\n")
	return b.Bytes()
}

// README.md leads to each page.
func TestReadmeNamesEveryDriver(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range Drivers() {
		if link := fmt.Sprintf("[`%s`](docs/sensors/%s.md)", d.Type, d.Type); !strings.Contains(string(text), link) {
			t.Errorf("README.md lacks %s", link)
		}
	}
}

// addresses lists them, three and more in a row as a range.
func addresses(d *sensors.Driver) string {
	list := slices.Sorted(slices.Values(d.Addresses))
	var texts []string
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n] == list[0]+uint16(n) {
			n++
		}
		if n < 3 {
			n = 1
		}
		text := fmt.Sprintf("0x%02x", list[0])
		if n > 1 {
			text += fmt.Sprintf(" to 0x%02x", list[n-1])
		}
		texts, list = append(texts, text), list[n:]
	}
	return strings.Join(texts, ", ")
}

// markdown is the page: what the driver is, how it is wired, how it is configured, and then the rest of what its package says.
func (p *page) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- Written by make golden from sensors/%s. -->\n# %s: %s\n\n%s", p.driver.Type, p.driver.Type, p.driver.Doc, p.intro)
	fmt.Fprintf(&b, "\n## Wiring\n\n%s", p.sections["Wiring"])
	b.WriteString("\n## Configuration\n\n")
	if len(p.keys) > 0 {
		b.WriteString(keyTable(p.keys))
	}
	fmt.Fprintf(&b, "\nBeside these, [the words of every sensor](../sensors.md). An example:\n\n```toml\n%s```\n", p.driver.Sample)
	for _, name := range p.order {
		if name != "Wiring" {
			fmt.Fprintf(&b, "\n## %s\n\n%s", name, p.sections[name])
		}
	}
	return b.Bytes()
}

func keyTable(keys []key) string {
	var b strings.Builder
	b.WriteString("| key | default | |\n|---|---|---|\n")
	for _, k := range keys {
		def := k.def
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.name, def, strings.ReplaceAll(k.doc, "|", `\|`))
	}
	return b.String()
}
