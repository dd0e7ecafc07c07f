// Package report writes the figures of a benchmark: as tables for people, as JSON, and into a document.
package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Table is a Markdown table with its columns aligned, so that it can be read as it is.
type Table struct {
	Head []string
	Rows [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// String renders the table, the first column to the left, all others to the right.
func (t *Table) String() string {
	width := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c), 2)
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 {
				b.WriteString("| " + c + pad)
			} else {
				b.WriteString(" | " + pad + c)
			}
		}
		b.WriteString(" |\n")
	}
	line(t.Head)
	for i, w := range width {
		if i == 0 {
			b.WriteString("|-" + strings.Repeat("-", w) + "-")
		} else {
			b.WriteString("|" + strings.Repeat("-", w+1) + ":")
		}
	}
	b.WriteString("|\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}

// Number writes v with three significant digits and, from a thousand on, blanks between thousands.
func Number(v float64) string {
	if v < 0 {
		return "-" + Number(-v)
	}
	switch {
	case v == 0:
		return "0"
	case v < 0.1:
		return strconv.FormatFloat(v, 'f', 3, 64)
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return Count(int64(v + 0.5))
}

// Count writes n with blanks between thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// Machine says where the figures are from, in one line.
func Machine() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := "Linux"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		release, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
		kernel += " " + release
	}
	load := "unknown"
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(b), " ")
	}
	return fmt.Sprintf("%d × %s, %s/%s, %s, %s, load %s at the start", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, kernel, runtime.Version(), load)
}

// Save writes figures as NAME.json and text as NAME.md into dir.
func Save(dir, name string, figures any, text string) error {
	b, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(dir, 0o750),
		os.WriteFile(filepath.Join(dir, name+".json"), append(b, '\n'), 0o644), //nolint:gosec // figures, for everybody
		os.WriteFile(filepath.Join(dir, name+".md"), []byte(text), 0o644),      //nolint:gosec // the same
	)
}

// Update replaces what stands in the document between the comments "figures:begin NAME" and "figures:end NAME" by text.
func Update(document, name, text string) error {
	old, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	begin, end := "<!-- figures:begin "+name+" -->\n", "<!-- figures:end "+name+" -->\n"
	head, rest, ok := bytes.Cut(old, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return fmt.Errorf("%s: no lines %q and %q to write between", document, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	b := bytes.Join([][]byte{head, []byte(begin), []byte(text), []byte(end), tail}, nil)
	return os.WriteFile(document, b, mode(document))
}

func mode(name string) fs.FileMode {
	if st, err := os.Stat(name); err == nil {
		return st.Mode().Perm()
	}
	return 0o644
}
