package config

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxSyntax ends the search for mistakes in a file that is something else than TOML.
const maxSyntax = 20

// parse reads a whole source into a tree. It goes on behind a line that it cannot read; whole is false when there was one.
func parse(src *source, ps *problems) (root *table, whole bool) {
	root = &table{at: pos{src, 0}}
	b := &builder{src: src, ps: ps, p: &unstable.Parser{}}
	cur, path, before := root, "", len(ps.found)
	for range maxSyntax {
		done := b.base
		b.p.Reset(src.text[b.base:])
		for b.p.NextExpression() {
			n := b.p.Expression()
			done = b.end(n)
			if n.Kind == unstable.KeyValue {
				if cur != nil {
					b.keyValue(cur, path, n)
				}
				continue
			}
			cur, path = b.open(root, n)
		}
		if b.p.Error() == nil {
			if b.base > 0 {
				return root, false
			}
			conforms(src, ps, len(ps.found) > before)
			return root, true
		}
		bad := b.mistake(done, path)
		if src.text[bad.start] == '[' {
			cur = nil // whose keys follow is unknown
		}
		b.base = b.resume(bad)
		if b.base >= len(src.text) {
			return root, false
		}
	}
	ps.add(pos{src, b.base}, "", "too many mistakes; the rest of the file was not read")
	return root, false
}

// conforms has the library's own decoder judge what the tree took, for the rules that only it knows. It stops at the first mistake.
// Known says that the tree has mistakes in it already.
func conforms(src *source, ps *problems, known bool) {
	var loose map[string]any
	err := toml.Unmarshal(src.text, &loose)
	if err == nil {
		return
	}
	at := pos{src, 0}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		line, column := de.Position()
		at.off = src.offset(line, column)
	}
	msg := strings.TrimPrefix(err.Error(), "toml: ")
	if ps.on(at) || known && strings.Contains(msg, "already") {
		return // the tree has said so, and better
	}
	ps.add(at, "", inWords(msg))
}

// offset is the inverse of the library's positions, which count bytes.
func (s *source) offset(line, column int) int {
	off := 0
	for range line - 1 {
		off += bytes.IndexByte(s.text[off:], '\n') + 1
	}
	return min(off+column-1, len(s.text))
}

// end returns the offset behind an expression: behind its last key for a header.
func (b *builder) end(n *unstable.Node) int {
	if n.Kind == unstable.KeyValue {
		return b.base + int(n.Raw.Offset+n.Raw.Length)
	}
	parts := b.key(n)
	end := parts[len(parts)-1].end
	for end < len(b.src.text) && strings.IndexByte(" \t]", b.src.text[end]) >= 0 {
		end++
	}
	return end
}

// mistaken is an expression that cannot be read: where it starts and where reading stopped.
type mistaken struct{ start, stop int }

// mistake reports the parser's error; done is the end of the last good expression, path the table it was in.
func (b *builder) mistake(done int, path string) mistaken {
	text := b.src.text
	stop := len(text) - 1
	var pe *unstable.ParserError
	if errors.As(b.p.Error(), &pe) {
		if off := cap(text) - cap(pe.Highlight); off >= done && off < len(text) {
			stop = off
		}
	}
	start := min(skipBlank(text, done), stop)
	line, _, _ := strings.Cut(string(text[start:]), "\n")
	key, written, assigned := strings.Cut(line, "=")
	if strings.HasPrefix(line, "[") {
		assigned = false
	}
	msg, at := inWords(b.p.Error().Error()), stop
	if assigned {
		better := unquoted(b.p.Error().Error(), strings.TrimSpace(written))
		if better != "" {
			msg = better
		}
		if better != "" || stop > start+len(line) {
			at = min(b.afterEquals(start+len(key)), len(text)-1)
		}
	}
	if key = strings.TrimSpace(key); assigned && smallKey().MatchString(key) {
		key = join(path, key)
	} else {
		key = "" // it may be anything, a secret too
	}
	b.ps.add(pos{b.src, at}, key, msg)
	return mistaken{start, stop}
}

// resume returns where to read on: the next line that looks like the start of something. The line where reading stopped
// counts too when the expression began on an earlier one, as with a missing bracket at the end of a list.
func (b *builder) resume(bad mistaken) int {
	text := b.src.text
	off := bad.stop
	if bytes.IndexByte(text[bad.start:bad.stop], '\n') >= 0 {
		off = bytes.LastIndexByte(text[:bad.stop], '\n')
	}
	begins := beginning()
	for {
		nl := bytes.IndexByte(text[off:], '\n')
		if nl < 0 {
			return len(text)
		}
		off += nl + 1
		if off > bad.start && begins.Match(text[off:]) {
			return off
		}
	}
}

// skipBlank returns the offset of the first thing from off on that is neither space, line end nor comment.
func skipBlank(text []byte, off int) int {
	for off < len(text) {
		switch text[off] {
		case ' ', '\t', '\r', '\n':
			off++
		case '#':
			nl := bytes.IndexByte(text[off:], '\n')
			if nl < 0 {
				return len(text)
			}
			off += nl
		default:
			return off
		}
	}
	return off
}

func smallKey() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9_-]{1,40}$`) }

func beginning() *regexp.Regexp {
	return regexp.MustCompile(`^[ \t]*(=|\[|[A-Za-z0-9_."'-]+[ \t]*=|[A-Za-z0-9_.-]+[ \t]+["'0-9])`)
}

// join returns the dotted key of a name below a path.
func join(path, name string) string {
	name = shownKey(name)
	if path == "" {
		return name
	}
	return path + "." + name
}

// shownKey returns a key as a message may print it.
func shownKey(name string) string {
	const most = 64
	if name == "" {
		return `""`
	}
	if r := []rune(name); len(r) > most {
		name = string(r[:most]) + "…"
	}
	for _, r := range name {
		if r > unicode.MaxASCII || r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return strconv.Quote(name)
		}
	}
	return name
}
