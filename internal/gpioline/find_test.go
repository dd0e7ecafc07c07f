package gpioline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// chips are those of a Raspberry Pi, whose line 4 has the name of its other use, and an expander.
func chips() []Chip {
	pi := Chip{Path: "/dev/gpiochip0", Name: "gpiochip0", Label: "pinctrl-rp1", Links: []string{"gpiochip4"}, Lines: make([]Info, 54)}
	for i := range pi.Lines {
		pi.Lines[i].Offset = uint32(i)
	}
	pi.Lines[0].Name, pi.Lines[4].Name, pi.Lines[17].Name, pi.Lines[18].Name = "ID_SDA", "GPIO_GCLK", "GPIO17", "BOTH"
	return []Chip{pi, {Path: "/dev/gpiochip1", Name: "gpiochip1", Label: "i2c:expander", Lines: []Info{
		{Offset: 0, Name: "BOTH"}, {Offset: 1, Name: "door"}, {Offset: 2, Name: "2"}, {Offset: 3}, {Offset: 4, Name: "GPIO5"}, {Offset: 5, Name: "a:b"},
	}}}
}

func TestFind(t *testing.T) {
	tests := []struct{ name, echo, word string }{
		{"GPIO17", "GPIO17 (P1_11, gpiochip0:17)", ""},
		{"P1_11", "GPIO17 (P1_11, gpiochip0:17)", ""},
		{"GPIO4", "GPIO4 (P1_7, GPIO_GCLK, gpiochip0:4)", ""},
		{"GPIO_GCLK", "GPIO4 (P1_7, GPIO_GCLK, gpiochip0:4)", ""},
		{"P1_27", "GPIO0 (P1_27, ID_SDA, gpiochip0:0)", ""},
		{"gpiochip0:3", "GPIO3 (P1_5, gpiochip0:3)", ""},
		{"/dev/gpiochip4:3", "GPIO3 (P1_5, gpiochip0:3)", ""},
		{"pinctrl-rp1:40", "pinctrl-rp1:40 (gpiochip0:40)", ""},
		{"i2c:expander:3", "i2c:expander:3 (gpiochip1:3)", ""},
		{"i2c:expander:BOTH", "BOTH (gpiochip1:0)", ""},
		{"2", "2 (gpiochip1:2)", ""},
		{"a:b", "a:b (gpiochip1:5)", ""},
		{"BOTH", "", "say which of gpiochip0:18 (pinctrl-rp1), gpiochip1:0 (i2c:expander)"},
		{"GPIO5", "", "say which of gpiochip0:5 (pinctrl-rp1), gpiochip1:4 (i2c:expander)"},
		{"gpio17", "", `did you mean "GPIO17"`},
		{"Door", "", `did you mean "door"`},
		{"SDA", "", `did you mean "ID_SDA"`},
		{"gpiochip0:54", "", "lines 0 to 53"},
		{"gpiochip7:4", "", `no chip "gpiochip7"; there are gpiochip0 (pinctrl-rp1`},
		{"GPIO28", "", "no such line"},
		{"GPIO05", "", "no such line"},
		{"3", "", "no such line"},
	}
	for _, tt := range tests {
		l, err := find(chips(), tt.name)
		switch {
		case tt.word == "" && (err != nil || l.String() != tt.echo):
			t.Errorf("%s: %s, %v; want %s", tt.name, l, err, tt.echo)
		case tt.word != "" && (err == nil || !strings.Contains(err.Error(), tt.word)):
			t.Errorf("%s: error %v does not say %q", tt.name, err, tt.word)
		}
	}
	for _, name := range []string{"GPIO28", "gpiochip7:4"} {
		if _, err := find(chips(), name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := find(chips(), "BOTH"); errors.Is(err, ErrUnknown) {
		t.Errorf("a name of two lines: %v", err)
	}
	if _, err := find(chips()[1:], "P1_11"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a header pin of another board: %v", err)
	}
	if _, err := Find(t.TempDir(), "GPIO17"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a machine without chips: %v", err)
	}
}

// Each of the header's 28 lines is on one pin, and its pin leads back to it.
func TestHeader(t *testing.T) {
	seen := map[int]bool{}
	for _, line := range header() {
		if line < 0 {
			continue
		}
		pin := HeaderPin(uint32(line))
		if back, ok, err := headerLine(pin); !ok || err != nil || back != line || seen[line] {
			t.Errorf("line %d is on %s, which is line %d, %v", line, pin, back, err)
		}
		seen[line] = true
	}
	if len(seen) != 28 || len(header()) != 40 {
		t.Errorf("%d lines on %d pins", len(seen), len(header()))
	}
	for pin, line := range map[string]int{"P1_3": 2, "P1_7": 4, "P1_8": 14, "P1_12": 18, "P1_24": 8, "P1_32": 12, "P1_40": 21} {
		if got, _, err := headerLine(pin); got != line || err != nil {
			t.Errorf("%s is %d, %v; want %d", pin, got, err, line)
		}
	}
}

func TestShortHeader(t *testing.T) {
	for model, short := range map[string]bool{
		"Raspberry Pi Model B Rev 2\x00": true, "Raspberry Pi Model B Plus Rev 1.2\x00": false, "Raspberry Pi 5 Model B Rev 1.0\x00": false,
	} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "proc/device-tree"), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "proc/device-tree/model"), []byte(model), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Find(root, "P1_11"); strings.Contains(err.Error(), "26 pins") != short {
			t.Errorf("%q: %v", model, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"GPIO17", "P1_11", "gpiochip0:17", "/dev/gpiochip0:17", "pinctrl-rp1:GPIO17", "door", "a b", "P1.08 [SPI0_CLK]", "P1_"} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, word := range map[string]string{
		"": "is missing", " GPIO17": "no name", "a\nb": "no name", strings.Repeat("x", 81): "no name", ":4": "want CHIP:LINE", "gpiochip0:": "want CHIP:LINE",
		"/dev/gpiochip0": "want its line too", "P1_6": "is ground", "P1_1": "is 3.3 V", "P1_2": "is 5 V", "P1_41": "pins 1 to 40", "P1_0": "pins 1 to 40",
	} {
		if err := CheckName(name); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: error %v does not say %q", name, err, word)
		}
	}
}

func FuzzFind(f *testing.F) {
	for _, s := range []string{"GPIO17", "P1_11", "gpiochip0:17", "::", "P1_-1", "GPIO-0", "BOTH"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		l, err := find(chips(), name)
		if err != nil {
			return
		}
		if again, err := find(chips(), fmt.Sprintf("%s:%d", l.Chip.Name, l.Offset)); err != nil || again.String() != l.String() {
			t.Errorf("%q is %s, whose place is of %s, %v", name, l, again, err)
		}
	})
}

func TestErrorsHelp(t *testing.T) {
	if err := allow(unix.EACCES); !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "group gpio") {
		t.Error(err)
	}
	line, err := find(chips(), "GPIO17")
	if err != nil {
		t.Fatal(err)
	}
	line.Chip.Path, line.root = "/nonexistent", t.TempDir()
	for consumer, word := range map[string]string{
		"led0": "stop the program of that name", "": "function of its own", "sysfs": "unexport", "spi0 CS1": "dtparam=spi=on",
		"onewire@0": "w1-gpio", "iotagent relay": "systemctl stop iotagent", "dht11@17": `type = "iio"`,
	} {
		line.Consumer = consumer
		err := line.explain(unix.EBUSY)
		if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "GPIO17 (P1_11, gpiochip0:17) is held by ") ||
			!strings.Contains(err.Error(), consumer) || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v does not say %q", consumer, err, word)
		}
	}
	if err := line.explain(unix.ENXIO); !errors.Is(err, unix.ENXIO) || !strings.Contains(err.Error(), "no interrupt") {
		t.Error(err)
	}
	if err := line.explain(unix.ENOTSUP); !strings.Contains(err.Error(), "bias") {
		t.Error(err)
	}
}

// A process that holds a line has a descriptor that says so.
func TestHolder(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/42/comm": "blinker\n", "proc/42/fdinfo/7": "pos:\t0\ngpio-chip:\tgpiochip0\ngpio-line:\t17\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "proc/42/fd"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("anon_inode:gpio-line", filepath.Join(root, "proc/42/fd/7")); err != nil {
		t.Fatal(err)
	}
	if got := holder(root, "gpiochip0", 17); got != "process 42, blinker" {
		t.Errorf("got %q", got)
	}
	if got := holder(root, "gpiochip0", 1) + holder(root, "gpiochip1", 17) + holder(t.TempDir(), "gpiochip0", 17); got != "" {
		t.Errorf("got %q", got)
	}
}
