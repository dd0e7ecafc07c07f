package config

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"

	"iotagent/c2d"
	"iotagent/sensors"
)

// loader gathers the files of one configuration and their mistakes.
type loader struct {
	o    Options
	ps   *problems
	file *File
	// root holds the tables of all files, merged, but for the blocks.
	root              *table
	sensors, commands []*value
	taken             []placed
	// damaged is set when a file could not be read whole; then nothing is called missing.
	damaged bool
	guessed map[string]bool
}

func newLoader(path string, o *Options) *loader {
	l := &loader{ps: &problems{}, file: defaults(path), root: &table{at: pos{&source{name: path}, 0}}}
	if o != nil {
		l.o = *o
	}
	l.ps.file(path)
	return l
}

// fail records an error about a file as a whole.
func (l *loader) fail(err error) {
	l.damaged = true
	if e, ok := errors.AsType[*Error](err); ok {
		l.ps.file(e.File)
		l.ps.found = append(l.ps.found, e)
		return
	}
	l.ps.found = append(l.ps.found, &Error{File: l.file.Path, Msg: err.Error(), Err: err})
}

func (l *loader) failed(err error) error {
	l.fail(err)
	return l.ps.found
}

// add parses one file and merges it into what earlier files said.
func (l *loader) add(name string, data []byte) {
	src, ok := newSource(name, data, l.ps)
	if !ok {
		l.damaged = true
		return
	}
	root, whole := parse(src, l.ps)
	if !whole {
		l.damaged = true
	}
	if l.root.at.src.name == name && len(l.root.entries) == 0 {
		l.root.at = root.at
	}
	l.sensors = append(l.sensors, l.blocks(root, "sensor")...)
	l.commands = append(l.commands, l.blocks(root, "command")...)
	l.merge(l.root, root, "")
}

// blocks takes the [[name]] blocks out of one file's tree.
func (l *loader) blocks(root *table, name string) []*value {
	e := root.remove(name)
	switch {
	case e == nil:
		return nil
	case e.val.kind == kindTable && (e.val.table.header || e.val.table.inline):
		l.ps.add(e.val.at, name, bracketsMsg(name))
		return []*value{e.val}
	case e.val.kind == kindTable:
		l.ps.add(e.at, name, "this is part of a "+name+", but no line [["+name+"]] stands before it")
		return nil
	case e.val.kind != kindArray:
		l.ps.add(e.val.at, name, bracketsMsg(name))
		return nil
	}
	var list []*value
	for _, v := range e.val.list {
		if v.kind != kindTable {
			l.ps.add(v.at, name, "want a table, got "+describe(v)+"; "+bracketsMsg(name))
			continue
		}
		list = append(list, v)
	}
	return list
}

// merge adds to t what a later file says. A key that stands in both is a mistake: no file silently overrides another.
func (l *loader) merge(t, later *table, path string) {
	for _, e := range later.entries {
		old := t.get(e.name)
		switch {
		case old == nil:
			t.add(e)
		case old.val.kind == kindTable && e.val.kind == kindTable:
			l.merge(old.val.table, e.val.table, join(path, e.name))
		default:
			l.ps.add(e.at, join(path, e.name), "is set already, at "+old.at.in(e.at.src)+"; take one of them out")
		}
	}
}

// finish decodes and judges the merged whole.
func (l *loader) finish() (*File, error) {
	d := &decoder{ps: l.ps, home: l.home, guessed: map[string]bool{}}
	known := fieldSet{byKey: map[string]reflect.Value{}}
	known.add(reflect.ValueOf(l.file).Elem())
	known.keys = append(known.keys, "sensor", "command")
	d.fields(l.root, "", known)
	l.decodeSensors(d)
	l.decodeCommands(d)
	l.guessed = d.guessed
	l.check()
	if len(l.ps.found) > 0 {
		return nil, l.ps.sorted(l.ps.found)
	}
	l.file.Agent.StateDir = l.file.beside(l.file.Agent.StateDir)
	l.file.Hub.origin = &origin{dir: filepath.Dir(l.file.Path), path: l.file.Path, at: l.root.place, has: l.has}
	l.file.Warnings = l.ps.sorted(l.ps.warnings)
	return l.file, nil
}

// has reports whether some file says a key "table.key".
func (l *loader) has(key string) bool {
	name, key, _ := strings.Cut(key, ".")
	e := l.root.get(name)
	return e != nil && e.val.kind == kindTable && e.val.table.has(key)
}

// home says where else a key would be known.
func (l *loader) home(path, key string) string {
	path, _, _ = strings.Cut(path, "[")
	var types []string
	switch path {
	case "sensor":
		for _, drv := range l.o.Sensors {
			if contains(keysOf(drv.New()), key) {
				types = append(types, drv.Type)
			}
		}
	case "command":
		for _, typ := range l.o.Commands {
			if contains(keysOf(typ.New()), key) {
				types = append(types, typ.Name)
			}
		}
	}
	if len(types) > 0 {
		return "belongs to type " + oneOf(types)
	}
	for _, section := range [...]struct {
		path, header string
		dst          any
	}{
		{"hub", "[hub]", &Hub{}},
		{"agent", "[agent]", &Agent{}},
		{"outbox", "[outbox]", &Outbox{}},
		{"telemetry", "[telemetry]", &Telemetry{}},
		{"metrics", "[metrics]", &Metrics{}},
		{"sensor", "[[sensor]]", &sensors.Common{}},
		{"command", "[[command]]", &c2d.Common{}},
	} {
		if section.path != path && contains(keysOf(section.dst), key) {
			return "belongs below a line " + section.header
		}
	}
	return ""
}

func contains(keys []string, key string) bool {
	for _, k := range keys {
		if plain(k) == plain(key) {
			return true
		}
	}
	return false
}
