package config

import (
	"fmt"
	"regexp"
	"time"

	"iotagent/internal/quantity"
)

const (
	minInterval     = 100 * time.Millisecond
	maxSettleWithin = 50 * time.Second // the hub's lock lasts 60 s
)

// configured is what sensors.Config and c2d.Config have in common.
type configured interface {
	Validate(bad func(key, msg string))
}

// block is one [[sensor]] or [[command]] on its way.
type block struct {
	t    *table
	path string
	ps   *problems
	// guessed are the keys that the decoder suggested in place of unknown ones.
	guessed map[string]bool
}

// bad records what is wrong with a key. A key that is not there, but probably misspelt, was reported as that.
func (b *block) bad(key, msg string) {
	if full := b.path + "." + key; b.t.has(key) || !b.guessed[full] {
		b.ps.add(b.t.place(key), full, msg)
	}
}

// list decodes the blocks of one kind. Pick makes the configuration of a type, nil when there is none of that name;
// common is called for each block to get the struct of the common keys, done when both are filled.
func (l *loader) list(d *decoder, kind string, blocks []*value, types []string,
	pick func(typ string) configured, common func() any, done func(b *block, common any, cfg configured),
) {
	names := map[string]pos{}
	for _, v := range blocks {
		b := &block{t: v.table, path: kind, ps: l.ps, guessed: d.guessed}
		l.name(b, names)
		com, cfg := common(), configured(nil)
		if typ, ok := l.typ(b, types); ok {
			cfg = pick(typ)
		}
		if cfg == nil {
			l.lenient(d, b, com)
			continue
		}
		d.table(b.t, b.path, com, cfg)
		done(b, com, cfg)
		cfg.Validate(b.bad)
	}
}

// lenient decodes only the common keys of a block whose type is not known: whose keys the others are cannot be said.
func (l *loader) lenient(d *decoder, b *block, com any) {
	known := map[string]bool{}
	for _, key := range keysOf(com) {
		known[key] = true
	}
	some := &table{at: b.t.at}
	for _, e := range b.t.entries {
		if known[e.name] {
			some.entries = append(some.entries, e)
		}
	}
	d.table(some, b.path, com)
}

// name checks a block's name, and calls the block by it from here on.
func (l *loader) name(b *block, names map[string]pos) {
	e := b.t.get("name")
	switch {
	case e == nil:
		if !l.damaged {
			b.bad("name", `is missing; give it a name of its own, such as name = "boiler"`)
		}
		return
	case e.val.kind != kindText:
		return // decoding says so
	case !validName(e.val.text):
		b.bad("name", `want 1 to 64 letters, digits, "-", "_" or "."`)
		return
	}
	kind := b.path
	b.path = kind + "[" + e.val.text + "]"
	if first, taken := names[e.val.text]; taken {
		b.bad("name", "another "+kind+" has this name, at "+first.in(e.at.src))
		return
	}
	names[e.val.text] = e.at
}

func validName(s string) bool { return regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString(s) }

// typ returns a block's type when it is one of those known.
func (l *loader) typ(b *block, types []string) (string, bool) {
	e := b.t.get("type")
	if e == nil {
		if !l.damaged {
			b.bad("type", "is missing"+didYouMean("", types))
		}
		return "", false
	}
	if e.val.kind != kindText {
		return "", false // decoding says so
	}
	for _, t := range types {
		if t == e.val.text {
			return t, true
		}
	}
	b.bad("type", fmt.Sprintf("unknown type %q", shorten(e.val.text))+didYouMean(e.val.text, types))
	return "", false
}

// within checks a duration that the block says, and sets the default of one that it does not say.
func (b *block) within(key string, d *quantity.Duration, fallback, low, high time.Duration) {
	if !b.t.has(key) {
		d.Duration = fallback
		return
	}
	if msg := outside(*d, low, high); msg != "" {
		b.bad(key, msg)
	}
}

// outside says what is wrong with a duration that is not between low and high; high 0 means no bound.
func outside(d quantity.Duration, low, high time.Duration) string {
	if d.Duration >= low && (high == 0 || d.Duration <= high) || d.Problem() != "" {
		return ""
	}
	least, most := quantity.Duration{Duration: low}, quantity.Duration{Duration: high}
	switch {
	case high == 0:
		return fmt.Sprintf("want at least %v, got %v", least, d)
	case low == 0:
		return fmt.Sprintf("want at most %v, got %v", most, d)
	}
	return fmt.Sprintf("want %v to %v, got %v", least, most, d)
}

func shorten(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
