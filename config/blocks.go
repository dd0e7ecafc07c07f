package config

import (
	"fmt"
	"regexp"
	"slices"
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

// bad records what is wrong with a key. A key that is not there, but probably misspelled, was reported as that.
func (b *block) bad(key, msg string) {
	if full := b.path + "." + key; b.t.has(key) || !b.guessed[full] {
		b.ps.add(b.t.place(key), full, msg)
	}
}

// decodeBlocks decodes the blocks of one kind into structs of the common keys, C, and of the type's own, which pick makes for one of types.
// Done is called for each with both filled in; what is wrong with them it reports.
func decodeBlocks[C any, K configured](l *loader, d *decoder, kind string, blocks []*value, types []string,
	pick func(i int) K, done func(b *block, common C, cfg K),
) {
	names := map[string]pos{}
	for _, v := range blocks {
		b := &block{t: v.table, path: kind, ps: l.ps, guessed: d.guessed}
		l.name(b, names)
		var common C
		i := l.typ(b, types)
		if i < 0 {
			l.lenient(d, b, &common)
			continue
		}
		cfg := pick(i)
		d.table(b.t, b.path, &common, cfg)
		done(b, common, cfg)
		cfg.Validate(b.bad)
	}
}

// lenient decodes only the common keys of a block whose type is not known: whose keys the others are cannot be said.
func (l *loader) lenient(d *decoder, b *block, common any) {
	some := &table{at: b.t.at}
	for _, key := range keysOf(common) {
		if e := b.t.get(key); e != nil {
			some.add(e)
		}
	}
	d.table(some, b.path, common)
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

// typ returns the index of a block's type among those known, -1 when it is none of them.
func (l *loader) typ(b *block, types []string) int {
	e := b.t.get("type")
	if e == nil {
		if !l.damaged {
			b.bad("type", "is missing"+didYouMean("", types))
		}
		return -1
	}
	if e.val.kind != kindText {
		return -1 // decoding says so
	}
	i := slices.Index(types, e.val.text)
	if i < 0 {
		b.bad("type", fmt.Sprintf("unknown type %q", shorten(e.val.text))+didYouMean(e.val.text, types))
	}
	return i
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
