package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Error is one mistake in the configuration, or one warning about it.
type Error struct {
	// File is the file's path as it was opened.
	File string
	// Line and Column count from 1, Column in characters; both are 0 when the file as a whole is meant.
	Line, Column int
	// Key is the dotted key, "hub.host" or "sensor[boiler].interval"; "" when no key is meant.
	Key string
	// Msg says what is wrong and what to write instead. It never holds a secret.
	Msg string
	// Err is the cause, where there is one.
	Err error
}

// Error returns "file:line:column: key: what is wrong".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all mistakes of a configuration, in the order of its files and lines. It is never empty where it is returned as an error.
type Errors []*Error

// Error returns one line for each mistake.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes one by one.
func (es Errors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}

// pos is a place in a source.
type pos struct {
	src *source
	off int
}

// in returns p as another place may cite it: "line 3", or "file:3" from within another file.
func (p pos) in(src *source) string {
	line, _ := p.src.position(p.off)
	if p.src == src {
		return "line " + strconv.Itoa(line)
	}
	return p.src.name + ":" + strconv.Itoa(line)
}

// maxProblems is more than a person reads; what comes behind shows when the first are mended.
const maxProblems = 300

// problems gathers mistakes in any order.
type problems struct {
	found    Errors
	warnings Errors
	order    map[string]int
}

func (ps *problems) file(name string) {
	if ps.order == nil {
		ps.order = map[string]int{}
	}
	if _, known := ps.order[name]; !known {
		ps.order[name] = len(ps.order)
	}
}

// add records a mistake at a place. A second one about the same key at the same place is dropped: it follows from the first.
func (ps *problems) add(at pos, key, msg string) {
	if len(ps.found) == maxProblems {
		return
	}
	e := newError(at, key, msg)
	if !slices.ContainsFunc(ps.found, func(o *Error) bool {
		return o.File == e.File && o.Line == e.Line && o.Column == e.Column && (o.Key == e.Key || o.Key == "")
	}) {
		ps.found = append(ps.found, e)
	}
}

func (ps *problems) warn(at pos, key, msg string) {
	ps.warnings = append(ps.warnings, newError(at, key, msg))
}

// on reports whether a mistake is already known on the line of a place.
func (ps *problems) on(at pos) bool {
	line, _ := at.src.position(at.off)
	return slices.ContainsFunc(ps.found, func(o *Error) bool { return o.File == at.src.name && o.Line == line })
}

// sorted returns the mistakes by file and line.
func (ps *problems) sorted(es Errors) Errors {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(ps.order[a.File], ps.order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return es
}

func newError(at pos, key, msg string) *Error {
	line, column := at.src.position(at.off)
	return &Error{File: at.src.name, Line: line, Column: column, Key: key, Msg: msg}
}
