package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// deferred is a value that keeps what is wrong with its text (package quantity).
type deferred interface {
	UnmarshalTOMLText(raw string)
	Problem() string
}

// decoder puts a tree into structs by their toml tags. Every key must have a field, spelt exactly.
type decoder struct {
	ps *problems
	// home says where else a key belongs: `belongs in [outbox]`; "" when nowhere.
	home func(path, key string) string
	// guessed collects the full keys that were suggested for unknown ones.
	guessed map[string]bool
}

// table sets the fields of dsts, pointers to structs that share the keys of one table between them. What the table does not say keeps its value.
func (d *decoder) table(t *table, path string, dsts ...any) {
	known := fieldSet{byKey: map[string]reflect.Value{}}
	for _, dst := range dsts {
		known.add(reflect.ValueOf(dst).Elem())
	}
	d.fields(t, path, known)
}

func (d *decoder) fields(t *table, path string, known fieldSet) {
	for _, e := range t.entries {
		if f, ok := known.byKey[e.name]; ok {
			d.value(e.val, join(path, e.name), f)
			continue
		}
		d.unknown(e, path, known.keys)
	}
}

func (d *decoder) unknown(e *entry, path string, known []string) {
	what, key := "unknown key", join(path, e.name)
	if e.val.kind == kindTable && !e.val.table.inline || e.val.blocks {
		what = "unknown table"
	}
	home := ""
	if d.home != nil {
		home = d.home(path, e.name)
	}
	switch s := suggest(e.name, known); {
	case s != "" && plain(s) == plain(e.name), home == "":
		d.guessed[path+"."+s] = true
		d.ps.add(e.at, key, what+didYouMean(e.name, known))
	default:
		if path == "" {
			d.guessed["hub."+e.name] = true
		}
		d.ps.add(e.at, key, what+" here; it "+home)
	}
}

// fieldSet finds settable fields by their key.
type fieldSet struct {
	byKey map[string]reflect.Value
	keys  []string
}

func (s *fieldSet) add(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case f.Anonymous && key == "" && f.Type.Kind() == reflect.Struct:
			s.add(v.Field(i))
		case !f.IsExported() || key == "" || key == "-":
		default:
			if _, taken := s.byKey[key]; !taken {
				s.byKey[key] = v.Field(i)
				s.keys = append(s.keys, key)
			}
		}
	}
}

// keysOf returns the keys of a pointer to a struct.
func keysOf(dst any) []string {
	s := fieldSet{byKey: map[string]reflect.Value{}}
	s.add(reflect.ValueOf(dst).Elem())
	return s.keys
}

func (d *decoder) value(v *value, path string, dst reflect.Value) {
	if dst.Kind() == reflect.Pointer {
		fresh := reflect.New(dst.Type().Elem())
		d.value(v, path, fresh.Elem())
		dst.Set(fresh)
		return
	}
	switch into := dst.Addr().Interface().(type) {
	case deferred:
		d.deferred(v, path, into)
		return
	case *Secret:
		if d.is(v, path, kindText, "text in quotes") {
			*into = newSecret(v.text)
		}
		return
	case encoding.TextUnmarshaler:
		if d.is(v, path, kindText, "text in quotes") {
			if err := into.UnmarshalText([]byte(v.text)); err != nil {
				d.ps.add(v.at, path, err.Error())
			}
		}
		return
	}
	d.plain(v, path, dst)
}

func (d *decoder) deferred(v *value, path string, into deferred) {
	switch v.kind {
	case kindText:
		into.UnmarshalTOMLText(`"` + v.text + `"`)
	case kindArray, kindTable:
		into.UnmarshalTOMLText(describe(v))
	default:
		into.UnmarshalTOMLText(v.text)
	}
	if p := into.Problem(); p != "" {
		d.ps.add(v.at, path, p)
	}
}

// plain sets a field of one of Go's own kinds.
func (d *decoder) plain(v *value, path string, dst reflect.Value) {
	kind := dst.Kind()
	if dst.Type() == reflect.TypeFor[time.Duration]() {
		kind = reflect.Invalid // a bare number would count nanoseconds; the field must be a quantity.Duration
	}
	switch kind {
	case reflect.String:
		if d.is(v, path, kindText, "text in quotes") {
			dst.SetString(v.text)
		}
	case reflect.Bool:
		if d.is(v, path, kindBool, "true or false") {
			dst.SetBool(v.text == "true")
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.integer(v, path, dst)
	case reflect.Float32, reflect.Float64:
		d.float(v, path, dst)
	case reflect.Struct:
		if d.is(v, path, kindTable, "a table") {
			d.table(v.table, path, dst.Addr().Interface())
		}
	case reflect.Slice:
		d.slice(v, path, dst)
	case reflect.Map:
		d.mapping(v, path, dst)
	default:
		d.ps.add(v.at, path, "cannot be set in a file (a mistake in the program: the field is a "+dst.Type().String()+")")
	}
}

// is reports whether v is of the wanted kind, or says that it is not.
func (d *decoder) is(v *value, path string, want kind, words string) bool {
	if v.kind == want {
		return true
	}
	msg := "want " + words + ", got " + describe(v)
	if v.blocks && want == kindTable {
		msg = "write [" + path + "] with one bracket: there is only one"
	}
	if v.kind == kindText && (want == kindInteger || want == kindFloat || want == kindBool) {
		msg += "; leave the quotes out"
	}
	d.ps.add(v.at, path, msg)
	return false
}

// describe names a value's kind. It does not repeat text, which may be a secret.
func describe(v *value) string {
	switch v.kind {
	case kindText:
		return "text in quotes"
	case kindInteger, kindFloat, kindBool:
		return shorten(v.text)
	case kindArray:
		if v.blocks {
			return "a block in [[two brackets]]"
		}
		return "a list"
	case kindTable:
		return "a table"
	default:
		return "a date or time"
	}
}

func (d *decoder) integer(v *value, path string, dst reflect.Value) {
	if !d.is(v, path, kindInteger, "a whole number") {
		return
	}
	bits := dst.Type().Bits()
	low, high := int64(math.MinInt64)>>(64-bits), int64(math.MaxInt64)>>(64-bits)
	if dst.CanUint() {
		low, high = 0, math.MaxInt64
		if bits < 64 {
			high = 1<<bits - 1
		}
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(decimal(v.text), "_", ""), 0, 64)
	switch {
	case err != nil || n < low || n > high:
		d.ps.add(v.at, path, fmt.Sprintf("want a whole number from %d to %d, got %s", low, high, shorten(v.text)))
	case dst.CanUint():
		dst.SetUint(uint64(n))
	default:
		dst.SetInt(n)
	}
}

// decimal keeps Go from reading 010 as octal; TOML forbids it, which another check reports.
func decimal(text string) string {
	if len(text) > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9' {
		return strings.TrimLeft(text[:len(text)-1], "0") + text[len(text)-1:]
	}
	return text
}

func (d *decoder) float(v *value, path string, dst reflect.Value) {
	if v.kind != kindInteger && !d.is(v, path, kindFloat, "a number") {
		return
	}
	text := strings.ReplaceAll(v.text, "_", "")
	f, err := strconv.ParseFloat(text, dst.Type().Bits())
	if n, ierr := strconv.ParseInt(decimal(text), 0, 64); ierr == nil {
		f, err = float64(n), nil
	}
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		d.ps.add(v.at, path, "want a finite number, got "+shorten(v.text))
		return
	}
	dst.SetFloat(f)
}

func (d *decoder) slice(v *value, path string, dst reflect.Value) {
	if v.kind == kindTable && dst.Type().Elem().Kind() == reflect.Struct {
		d.ps.add(v.at, path, "want a list of tables: [{ … }, { … }], or a header with [[two brackets]] for each")
		return
	}
	if !d.is(v, path, kindArray, "a list in [brackets]") {
		return
	}
	list := reflect.MakeSlice(dst.Type(), len(v.list), len(v.list))
	for i, item := range v.list {
		d.value(item, fmt.Sprintf("%s[%d]", path, i), list.Index(i))
	}
	dst.Set(list)
}

func (d *decoder) mapping(v *value, path string, dst reflect.Value) {
	if !d.is(v, path, kindTable, "a table") {
		return
	}
	m := reflect.MakeMap(dst.Type())
	for _, e := range v.table.entries {
		item := reflect.New(dst.Type().Elem()).Elem()
		d.value(e.val, join(path, e.name), item)
		m.SetMapIndex(reflect.ValueOf(e.name).Convert(dst.Type().Key()), item)
	}
	dst.Set(m)
}
