package all

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"iotagent/internal/quantity"
	"iotagent/sensors"
)

// page is what a driver says of itself.
type page struct {
	driver   sensors.Driver
	intro    string            // Markdown, as the sections
	sections map[string]string // of the package's comment, by heading
	order    []string
	keys     []key
}

// key is one of a configuration.
type key struct{ name, def, doc string }

// newPage reads the package beside this one that a driver is in.
func newPage(t *testing.T, d sensors.Driver) *page {
	t.Helper()
	cfg := d.New()
	dir := filepath.Join("..", filepath.Base(reflect.TypeOf(cfg).Elem().PkgPath()))
	s := structOf(t, dir, cfg)
	p := &page{driver: d, sections: map[string]string{}, keys: s.keys("")}
	p.split(s.src.doc)
	if p.sections["Wiring"] == "" {
		t.Errorf("%s: the package comment has no section %q", d.Type, "# Wiring")
	}
	for _, k := range p.keys {
		if k.doc == "" {
			t.Errorf("%s: %s has no comment", d.Type, k.name)
		}
	}
	return p
}

// split cuts the package's comment at its headings.
func (p *page) split(text string) {
	_, text, _ = strings.Cut(text, " ") // Package
	_, text, _ = strings.Cut(text, " ") // its name
	doc := new(comment.Parser).Parse(strings.ToUpper(text[:1]) + text[1:])
	printer := &comment.Printer{DocLinkBaseURL: "https://pkg.go.dev"}
	var blocks []comment.Block
	name := ""
	flush := func() {
		md := string(printer.Markdown(&comment.Doc{Content: blocks, Links: doc.Links}))
		for range 2 { // within a word it needs no escape
			md = regexp.MustCompile(`([A-Za-z0-9])\\_([A-Za-z0-9])`).ReplaceAllString(md, "${1}_$2")
		}
		if name == "" {
			p.intro = md
		} else {
			p.sections[name] = md
			p.order = append(p.order, name)
		}
		blocks = nil
	}
	for _, b := range doc.Content {
		if h, ok := b.(*comment.Heading); ok {
			flush()
			name = fmt.Sprint(h.Text[0])
			continue
		}
		blocks = append(blocks, b)
	}
	flush()
}

// source is what the text of a package says: its comment, and those of the fields of its structs.
type source struct {
	doc    string
	fields map[string]string // "Config.Bus"
}

func parse(t *testing.T, dir string) *source {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files, %v", dir, err)
	}
	src := &source{fields: map[string]string{}}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			src.doc = f.Doc.Text()
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				src.addFields(spec.Name.Name, s)
			}
			return true
		})
	}
	return src
}

// addFields takes the comments of a struct's fields; one that has none shares that of the field before it.
func (s *source) addFields(of string, st *ast.StructType) {
	before := ""
	for _, f := range st.Fields.List {
		if text := strings.Join(strings.Fields(f.Doc.Text()), " "); text != "" {
			before = text
		}
		for _, n := range f.Names {
			s.fields[of+"."+n.Name] = before
		}
	}
}

// aStruct is a struct whose toml keys are told.
type aStruct struct {
	src *source
	v   reflect.Value
}

func structOf(t *testing.T, dir string, cfg any) *aStruct {
	t.Helper()
	return &aStruct{src: parse(t, dir), v: reflect.ValueOf(cfg).Elem()}
}

// keys lists the keys of the struct, and those of structs in it behind a dot.
func (s *aStruct) keys(prefix string) []key {
	var keys []key
	for i := range s.v.NumField() {
		f := s.v.Type().Field(i)
		name := f.Tag.Get("toml")
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			keys = append(keys, (&aStruct{src: s.src, v: s.v.Field(i)}).keys(prefix)...)
			continue
		}
		if !f.IsExported() || name == "" {
			continue
		}
		k := key{name: prefix + name, def: shown(name, s.v.Field(i)), doc: said(s.v.Type(), f.Name, s.src.fields[s.v.Type().Name()+"."+f.Name])}
		inner := innerStruct(f.Type)
		if inner == nil {
			keys = append(keys, k)
			continue
		}
		k.def = ""
		keys = append(keys, k)
		sub := &aStruct{src: s.src, v: reflect.New(inner).Elem()}
		if s.v.Field(i).Kind() == reflect.Struct {
			sub.v = s.v.Field(i)
		}
		keys = append(keys, sub.keys(k.name+".")...)
	}
	return keys
}

// innerStruct is the struct that a key leads to, directly, in a list or by a pointer; nil when it is a value.
func innerStruct(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || strings.HasSuffix(t.PkgPath(), "/quantity") {
		return nil
	}
	return t
}

// said makes the comment of a field that of a key: "Bus is the …" becomes "The …", and other fields are called as in the file.
func said(of reflect.Type, field, text string) string {
	text = regexp.MustCompile(`^`+field+` (?:is|are) (.)`).ReplaceAllStringFunc(text, func(m string) string {
		first, _ := utf8.DecodeLastRuneInString(m)
		return strings.ToUpper(string(first))
	})
	for i := range of.NumField() {
		f := of.Field(i)
		tag := f.Tag.Get("toml")
		if tag == "" {
			continue
		}
		at := "(^(?:`?\\w+`? and )?|[a-z,;] )" // a plain word is the field's name at the start, or where a capital has no other reason
		if strings.ToLower(f.Name) != tag {
			at = `()\b`
		}
		text = regexp.MustCompile(at+f.Name+`\b`).ReplaceAllString(text, "$1`"+tag+"`")
	}
	return text
}

// shown is a default as it would stand in the file; "" where it says nothing.
func shown(name string, v reflect.Value) string {
	switch x := v.Interface().(type) {
	case quantity.Duration:
		if x.Duration == 0 {
			return ""
		}
		return strconv.Quote(x.String())
	case quantity.Bytes:
		if x.N == 0 {
			return ""
		}
		return strconv.Quote(fmt.Sprint(x))
	case []string:
		if len(x) == 0 {
			return ""
		}
		return fmt.Sprintf("%q", x)
	case bool:
		return strconv.FormatBool(x)
	}
	switch {
	case v.IsZero():
		return ""
	case v.Kind() == reflect.Pointer:
		return shown(name, v.Elem())
	case v.CanInt() && name == "address":
		return fmt.Sprintf("0x%02x", v.Int())
	case v.Kind() == reflect.String:
		return strconv.Quote(v.String())
	}
	return fmt.Sprint(v.Interface())
}
