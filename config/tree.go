package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// kind is what a value is.
type kind uint8

const (
	kindText kind = iota
	kindInteger
	kindFloat
	kindBool
	kindTime
	kindArray
	kindTable
)

// table is a TOML table with the place of everything in it.
type table struct {
	at      pos
	entries []*entry
	index   map[string]*entry
	// header is set when a line [table] or [[table]] defined it, inline when it was written in braces; neither for one that
	// only came about on the way to another ([a.b], a.b = 1).
	header, inline bool
}

// entry is one key of a table with its value.
type entry struct {
	name string
	at   pos
	val  *value
}

// value is a scalar, an array or a table.
type value struct {
	at   pos
	kind kind
	// text is what a text says, or a scalar as it stands in the file.
	text string
	// list are the elements of an array; blocks is set when they are [[table]]s.
	list   []*value
	blocks bool
	table  *table
}

// add appends an entry whose name is not in t yet.
func (t *table) add(e *entry) {
	if t.index == nil {
		t.index = map[string]*entry{}
	}
	t.index[e.name] = e
	t.entries = append(t.entries, e)
}

func (t *table) get(name string) *entry { return t.index[name] }

func (t *table) has(name string) bool { return t.get(name) != nil }

// remove takes a key out and returns it, or nil.
func (t *table) remove(name string) *entry {
	e := t.get(name)
	delete(t.index, name)
	t.entries = slices.DeleteFunc(t.entries, func(o *entry) bool { return o == e })
	return e
}

// place returns where a dotted key stands, such as "limits.low" or "registers[2].type": the value when wanted is so deep, otherwise
// as far as the path exists, otherwise the table.
func (t *table) place(key string) pos {
	at := t.at
	for name := range strings.SplitSeq(key, ".") {
		name, index, _ := strings.Cut(name, "[")
		e := t.get(name)
		if e == nil {
			break
		}
		v := e.val.item(index)
		at = v.at
		if v.kind != kindTable {
			break
		}
		t = v.table
	}
	return at
}

// item returns the element of an array that an index such as "1]" or "1][0]" names, or v itself when there is none.
func (v *value) item(index string) *value {
	for part := range strings.SplitSeq(index, "[") {
		i, err := strconv.Atoi(strings.TrimSuffix(part, "]"))
		if err != nil || i < 0 || i >= len(v.list) {
			break
		}
		v = v.list[i]
	}
	return v
}

// builder turns the parser's expressions into a tree.
type builder struct {
	src  *source
	base int // offset in src of what the parser was given
	ps   *problems
	p    *unstable.Parser
}

// value converts a node; at is where it stands, for those kinds of nodes that do not know, and path its key.
func (b *builder) value(n *unstable.Node, at pos, path string) *value {
	if n.Raw.Length > 0 {
		at = b.at(n)
	}
	v := &value{at: at, text: string(n.Data)}
	switch n.Kind {
	case unstable.String:
		v.kind = kindText
	case unstable.Integer:
		v.kind = kindInteger
	case unstable.Float:
		v.kind = kindFloat
	case unstable.Bool:
		v.kind = kindBool
	case unstable.Array:
		v.kind = kindArray
		for it := n.Children(); it.Next(); {
			v.list = append(v.list, b.value(it.Node(), at, path))
		}
	case unstable.InlineTable:
		v.kind = kindTable
		v.table = &table{at: at, inline: true}
		for it := n.Children(); it.Next(); {
			b.keyValue(v.table, path, it.Node())
		}
	default:
		v.kind = kindTime
	}
	return v
}

func (b *builder) at(n *unstable.Node) pos { return pos{b.src, b.base + int(n.Raw.Offset)} }

type keyPart struct {
	name string
	at   pos
	end  int
}

func (b *builder) key(n *unstable.Node) []keyPart {
	var parts []keyPart
	for it := n.Key(); it.Next(); {
		k := it.Node()
		at := b.at(k)
		parts = append(parts, keyPart{string(k.Data), at, at.off + int(k.Raw.Length)})
	}
	return parts
}

// keyValue puts `a.b = value` into t, whose path is for messages.
func (b *builder) keyValue(t *table, path string, n *unstable.Node) {
	parts := b.key(n)
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		path = join(path, part.name)
		if t = b.step(t, path, part); t == nil {
			return
		}
	}
	path = join(path, last.name)
	v := b.value(n.Value(), pos{b.src, b.afterEquals(last.end)}, path)
	if old := t.get(last.name); old != nil {
		b.ps.add(last.at, path, "stands here for the second time; the first is at "+old.at.in(b.src))
		return
	}
	t.add(&entry{name: last.name, at: last.at, val: v})
}

// afterEquals returns the offset of the value behind a key that ends at off.
func (b *builder) afterEquals(off int) int {
	for off < len(b.src.text) && strings.IndexByte(" \t=", b.src.text[off]) >= 0 {
		off++
	}
	return off
}

// step goes from t into its table of that name, into the last block when it is an array of them, and makes one when there is none.
func (b *builder) step(t *table, path string, part keyPart) *table {
	e := t.get(part.name)
	if e == nil {
		sub := &table{at: part.at}
		t.add(&entry{part.name, part.at, &value{at: part.at, kind: kindTable, table: sub}})
		return sub
	}
	if e.val.blocks {
		return e.val.list[len(e.val.list)-1].table
	}
	if e.val.kind != kindTable || e.val.table.inline {
		b.ps.add(part.at, path, "has its value already, at "+e.at.in(b.src)+"; it cannot have keys of its own here")
		return nil
	}
	return e.val.table
}

// open goes to the table that a header line names, from the root. It returns nil when what follows has no place to go.
func (b *builder) open(root *table, n *unstable.Node) (*table, string) {
	parts := b.key(n)
	last := parts[len(parts)-1]
	t, path := root, ""
	for _, part := range parts[:len(parts)-1] {
		path = join(path, part.name)
		if t = b.step(t, path, part); t == nil {
			return nil, ""
		}
	}
	path = join(path, last.name)
	e := t.get(last.name)
	if n.Kind == unstable.ArrayTable {
		return b.block(t, e, path, last), path
	}
	switch {
	case e == nil:
		t = b.step(t, path, last)
	case e.val.blocks:
		b.ps.add(last.at, path, bracketsMsg(path))
		return b.block(t, e, path, last), path
	case e.val.kind != kindTable || e.val.table.inline:
		b.ps.add(last.at, path, "has its value already, at "+e.at.in(b.src))
		return nil, ""
	case e.val.table.header:
		b.ps.add(last.at, path, "["+path+"] stands here for the second time; put these keys below the first, at "+e.val.table.at.in(b.src))
		return e.val.table, path
	default:
		t = e.val.table
	}
	t.header, t.at = true, last.at
	return t, path
}

// block appends a [[table]] to e, the entry of its name in t, if there is one.
func (b *builder) block(t *table, e *entry, path string, part keyPart) *table {
	sub := &table{at: part.at, header: true}
	v := &value{at: part.at, kind: kindTable, table: sub}
	switch {
	case e == nil:
		arr := &value{at: part.at, kind: kindArray, blocks: true, list: []*value{v}}
		t.add(&entry{part.name, part.at, arr})
	case e.val.blocks:
		e.val.list = append(e.val.list, v)
	case e.val.kind == kindTable && e.val.table.header:
		// [x] and then [[x]]: most likely the first lacks its second bracket.
		b.ps.add(e.val.table.at, path, bracketsMsg(path))
		e.val = &value{at: e.at, kind: kindArray, blocks: true, list: []*value{e.val, v}}
	default:
		b.ps.add(part.at, path, "has its value already, at "+e.at.in(b.src))
		return nil
	}
	return sub
}

func bracketsMsg(path string) string {
	return "each " + path + " is a block of its own: write [[" + path + "]] with two brackets"
}
