package hubsim

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// The limits of "Understand and use device twins in IoT Hub".
const (
	maxTags       = 8 << 10
	maxProperties = 32 << 10
	maxTwinDepth  = 10
	maxTwinKey    = 1 << 10
	maxTwinText   = 4 << 10
	minTwinInt    = -1 << 52
	maxTwinInt    = 1<<52 - 1
)

// twin is what the hub keeps for one identity. Its maps are never changed, only replaced, so that a rendered one can share them.
type twin struct {
	tags              map[string]any
	desired, reported section
	version           int64  // counts every change
	tag               uint64 // counts the changes by services
}

// section is one of the two halves of a twin's properties.
type section struct {
	props   map[string]any
	meta    *metadata
	version int64
}

// metadata says when a property was changed, and by which version where that is told.
type metadata struct {
	updated  time.Time
	version  int64
	children map[string]*metadata
}

func newTwin(now time.Time) *twin {
	return &twin{
		tags:     map[string]any{},
		desired:  section{props: map[string]any{}, meta: &metadata{updated: now}, version: 1},
		reported: section{props: map[string]any{}, meta: &metadata{updated: now}, version: 1},
		version:  2, tag: 1,
	}
}

// etag is the counter of services' changes, as the REST API writes it.
func (t *twin) etag() string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, t.tag))
}

// parseObject reads one JSON object and keeps its numbers as they are written.
func parseObject(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var o map[string]any
	if err := d.Decode(&o); err != nil || o == nil {
		return nil, badArgument("want one JSON object.")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, badArgument("want one JSON object and nothing after it.")
	}
	return o, nil
}

// checkPatch takes the names that only the hub writes off a patch, and holds the rest against the rules for twins.
func checkPatch(patch map[string]any) (map[string]any, error) {
	patch = maps.Clone(patch)
	delete(patch, "$version")
	delete(patch, "$metadata")
	return patch, checkObject(patch, 1)
}

func checkObject(o map[string]any, depth int) error {
	if depth > maxTwinDepth {
		return badArgument("A twin may be %d levels deep.", maxTwinDepth)
	}
	for name, v := range o {
		if name == "" || len(name) > maxTwinKey || strings.ContainsFunc(name, notInNames) || !utf8.ValidString(name) {
			return badArgument("%.40q: names have 1 to %d bytes and no dot, dollar sign, space or control character.", name, maxTwinKey)
		}
		if err := checkValue(name, v, depth); err != nil {
			return err
		}
	}
	return nil
}

func notInNames(r rune) bool {
	return r == '.' || r == '$' || r == ' ' || r < 0x20 || r >= 0x7f && r < 0xa0
}

func checkValue(name string, v any, depth int) error {
	switch v := v.(type) {
	case map[string]any:
		return checkObject(v, depth+1)
	case []any:
		if depth >= maxTwinDepth {
			return badArgument("A twin may be %d levels deep.", maxTwinDepth)
		}
		for _, e := range v {
			if e == nil {
				return badArgument("%.40q: an array cannot hold null.", name)
			}
			if err := checkValue(name, e, depth+1); err != nil {
				return err
			}
		}
	case string:
		if len(v) > maxTwinText {
			return badArgument("%.40q: texts have at most %d bytes.", name, maxTwinText)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil && (n < minTwinInt || n > maxTwinInt) || err != nil && !strings.ContainsAny(v.String(), ".eE") {
			return badArgument("%.40q: integers go from %d to %d.", name, int64(minTwinInt), int64(maxTwinInt))
		}
	}
	return nil
}

// sizeOf counts a part of a twin as the hub does: names and texts by their bytes, other values by what they take.
func sizeOf(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for name, e := range v {
			n += len(name) + sizeOf(e)
		}
	case []any:
		for _, e := range v {
			n += sizeOf(e)
		}
	case string:
		n = len(v)
	case bool:
		n = 4
	case json.Number:
		n = 8
	}
	return n
}

// changed returns the section after a change: a JSON merge patch (RFC 7396) or, to replace it, the whole of it.
func (s section) changed(patch map[string]any, replace, counted bool, now time.Time) (section, error) {
	at := metadata{updated: now}
	if counted {
		at.version = s.version + 1
	}
	old, meta := s.props, s.meta
	if replace {
		old, meta = nil, nil
	}
	next := section{version: s.version + 1}
	next.props, next.meta = merge(old, meta, patch, at)
	if n := sizeOf(next.props); n > maxProperties {
		return s, tooLarge("The properties have %d bytes, %d are allowed.", n, maxProperties)
	}
	return next, nil
}

// merge applies a merge patch to an object and to what is known of its properties' changes; both stay as they were.
func merge(old map[string]any, oldMeta *metadata, patch map[string]any, at metadata) (map[string]any, *metadata) {
	props, meta := map[string]any{}, &metadata{updated: at.updated, version: at.version, children: map[string]*metadata{}}
	maps.Copy(props, old)
	if oldMeta != nil {
		maps.Copy(meta.children, oldMeta.children)
	}
	for name, v := range patch {
		object, isObject := v.(map[string]any)
		switch {
		case v == nil:
			delete(props, name)
			delete(meta.children, name)
		case isObject:
			below, isObject := props[name].(map[string]any)
			belowMeta := meta.children[name]
			if !isObject {
				belowMeta = nil
			}
			props[name], meta.children[name] = merge(below, belowMeta, object, at)
		default:
			props[name], meta.children[name] = v, &metadata{updated: at.updated, version: at.version}
		}
	}
	return props, meta
}

// difference returns the merge patch that makes one object of the other.
func difference(from, to map[string]any) map[string]any {
	patch := map[string]any{}
	for name := range from {
		if _, ok := to[name]; !ok {
			patch[name] = nil
		}
	}
	for name, v := range to {
		was, had := from[name]
		wasObject, ok1 := was.(map[string]any)
		object, ok2 := v.(map[string]any)
		switch {
		case ok1 && ok2:
			if d := difference(wasObject, object); len(d) > 0 {
				patch[name] = d
			}
		case !had || !reflect.DeepEqual(was, v):
			patch[name] = v
		}
	}
	return patch
}

// render returns the section as clients see it; only services see when what was changed.
func (s section) render(withMeta bool) map[string]any {
	o := maps.Clone(s.props)
	o["$version"] = s.version
	if withMeta {
		o["$metadata"] = s.meta.render()
	}
	return o
}

func (m *metadata) render() map[string]any {
	o := map[string]any{"$lastUpdated": restTime(m.updated)}
	if m.version > 0 {
		o["$lastUpdatedVersion"] = m.version
	}
	for name, c := range m.children {
		o[name] = c.render()
	}
	return o
}
