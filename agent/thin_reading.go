package agent

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// reading is a reading as it lies in a message, thinned or not, that may be put together with others of its sensor. Its texts share
// the message's memory.
type reading struct {
	sensor []byte
	// first and last are times in timeLayout, which sort as text.
	first, last []byte
	// clock is the JSON text that says how the times are known; empty where the wall clock was right.
	clock []byte
	// count is how many readings it stands for; thinned says that it says so.
	count   uint64
	thinned bool
	values  []stat
	// quality and reason are JSON texts; empty for a good reading.
	quality, reason []byte
	tags            []byte // as JSON; empty for none
}

// stat is one measurement: of a reading that is not thinned all three are the same.
type stat struct {
	name           []byte
	mean, min, max number
}

// number is a value and how it was written.
type number struct {
	text  []byte
	value float64
}

// The keys of a thinned reading beside those of every reading.
const (
	keyTo    = "to"
	keyCount = "count"
	keyMin   = "min"
	keyMax   = "max"
	keyTags  = "tags"
)

// sensorOf returns whose reading it is; known is false when it does not begin as ours do.
func sensorOf(text []byte) (sensor string, known bool) {
	rest, ok := bytes.CutPrefix(text, []byte(`{"sensor":"`))
	end := bytes.IndexAny(rest, `"\`)
	if !ok || end < 0 || rest[end] == '\\' {
		return "", false
	}
	return string(rest[:end]), true
}

// parseReading returns what text says. ok is false for a reading that cannot be thinned, because its time is not known, and for all that is not exactly
// as this package writes it.
func parseReading(text []byte) (r reading, ok bool) {
	p := readingParser{}
	if !jsonMembers(text, p.member) || !p.complete() {
		return reading{}, false
	}
	var space [512]byte
	return p.r, bytes.Equal(p.r.append(space[:0]), text)
}

// readingParser collects the members of a reading. What is in the wrong place, or twice, shows when the reading is written again.
type readingParser struct {
	r        reading
	min, max []stat
}

func (p *readingParser) member(name, value []byte) bool {
	r := &p.r
	switch string(name) {
	case "sensor":
		r.sensor = value
	case "time":
		r.first, r.last = value, value
		return isTime(value)
	case keyTo:
		r.last, r.thinned = value, true
		return isTime(value)
	case keyCount:
		n, err := strconv.ParseUint(string(value), 10, 53)
		r.count = n
		return err == nil && n > 0
	case keyMin:
		return stats(value, &p.min)
	case keyMax:
		return stats(value, &p.max)
	case "clock":
		r.clock = value
		return string(value) == `"`+clockRestored+`"`
	case "quality":
		r.quality = value
	case "reason":
		r.reason = value
	case keyTags:
		r.tags = value
	default:
		return addStat(name, value, &r.values)
	}
	return true
}

// complete fits the parts together and reports whether they do.
func (p *readingParser) complete() bool {
	r := &p.r
	if !r.thinned {
		if r.count != 0 || p.min != nil || p.max != nil || r.first == nil {
			return false
		}
		r.count = 1
		return true
	}
	if r.count == 0 || len(p.min) != len(r.values) || len(p.max) != len(r.values) || bytes.Compare(r.first, r.last) > 0 {
		return false
	}
	for i := range r.values {
		v := &r.values[i]
		if !bytes.Equal(p.min[i].name, v.name) || !bytes.Equal(p.max[i].name, v.name) {
			return false
		}
		v.min, v.max = p.min[i].mean, p.max[i].mean
	}
	return true
}

// stats reads an object of numbers.
func stats(object []byte, into *[]stat) bool {
	return jsonMembers(object, func(name, value []byte) bool { return addStat(name, value, into) })
}

// addStat reads one measurement.
func addStat(name, value []byte, into *[]stat) bool {
	v, err := strconv.ParseFloat(string(value), 64)
	n := number{value, v}
	*into = append(*into, stat{name, n, n, n})
	return err == nil
}

func isTime(value []byte) bool {
	if len(value) != len(timeLayout)+2 {
		return false
	}
	_, err := time.Parse(`"`+timeLayout+`"`, string(value))
	return err == nil
}

// mergeable reports whether later can be put together with r: the next of its sensor in time, of the same quality, with times known the same way and the same measurements.
func (r *reading) mergeable(later *reading) bool {
	const most = 1 << 53 // a count that JSON's readers keep exactly
	return bytes.Compare(r.last, later.first) <= 0 && bytes.Equal(r.clock, later.clock) && bytes.Equal(r.quality, later.quality) && bytes.Equal(r.reason, later.reason) && bytes.Equal(r.tags, later.tags) &&
		r.count+later.count < most && slices.EqualFunc(r.values, later.values, func(a, b stat) bool { return bytes.Equal(a.name, b.name) })
}

// merge takes later into r. Means are weighted by how many readings they stand for.
func (r *reading) merge(later *reading) {
	n := r.count + later.count
	share := float64(later.count) / float64(n)
	for i := range r.values {
		a, b := &r.values[i], &later.values[i]
		a.mean.value = a.mean.value*(1-share) + b.mean.value*share // neither product can overflow
		if b.min.value < a.min.value {
			a.min = b.min
		}
		if b.max.value > a.max.value {
			a.max = b.max
		}
	}
	r.last, r.count, r.thinned = later.last, n, true
}

// meanDigits is how exactly a mean is written: more than any sensor resolves, and five bytes fewer than all that a float64 has.
const meanDigits = 12

// finish writes the means. They stay between the smallest and the largest value.
func (r *reading) finish() *reading {
	for i := range r.values {
		v := &r.values[i]
		mean, err := strconv.ParseFloat(strconv.FormatFloat(v.mean.value, 'g', meanDigits, 64), 64)
		switch {
		case err != nil || math.IsNaN(mean):
			mean = v.mean.value
		case mean <= v.min.value:
			v.mean = v.min
			continue
		case mean >= v.max.value:
			v.mean = v.max
			continue
		}
		v.mean = number{appendNumber(nil, mean), mean}
	}
	return r
}

// append writes the reading as JSON:
//
//	{"sensor":"boiler","time":"…","to":"…","count":20,"temperature_celsius":21.53,"min":{"temperature_celsius":21.4},"max":{"temperature_celsius":21.6}}
//
// It is the reading that it would be if the means had been measured, and what is known beside them.
func (r *reading) append(b []byte) []byte {
	b = append(append(b, `{"sensor":`...), r.sensor...)
	b = append(append(b, `,"time":`...), r.first...)
	if len(r.clock) > 0 {
		b = append(append(b, `,"clock":`...), r.clock...)
	}
	if r.thinned {
		b = append(append(b, `,"to":`...), r.last...)
		b = append(b, `,"count":`...)
		b = strconv.AppendUint(b, r.count, 10)
	}
	for _, v := range r.values {
		b = appendMember(append(b, ','), v.name, v.mean)
	}
	if r.thinned && len(r.values) > 0 {
		b = appendStats(append(b, `,"min":`...), r.values, func(v *stat) number { return v.min })
		b = appendStats(append(b, `,"max":`...), r.values, func(v *stat) number { return v.max })
	}
	if len(r.quality) > 0 {
		b = append(append(b, `,"quality":`...), r.quality...)
	}
	if len(r.reason) > 0 {
		b = append(append(b, `,"reason":`...), r.reason...)
	}
	if len(r.tags) > 0 {
		b = append(append(b, `,"tags":`...), r.tags...)
	}
	return append(b, '}')
}

func appendStats(b []byte, values []stat, of func(*stat) number) []byte {
	sep := byte('{')
	for i := range values {
		b = appendMember(append(b, sep), values[i].name, of(&values[i]))
		sep = ','
	}
	return append(b, '}')
}

func appendMember(b, name []byte, v number) []byte {
	b = append(append(append(b, '"'), name...), `":`...)
	return append(b, v.text...)
}

// jsonObjects returns the elements of an array of objects as they are written; ok is false when text is anything else, or not valid.
func jsonObjects(text []byte) (objects [][]byte, ok bool) {
	if !json.Valid(text) {
		return nil, false
	}
	rest, ok := bytes.CutPrefix(text, []byte("["))
	if !ok || len(rest) == 1 {
		return nil, ok && rest[0] == ']'
	}
	for {
		n := jsonValue(rest)
		if n == 0 || rest[0] != '{' || n == len(rest) {
			return nil, false
		}
		objects = append(objects, rest[:n])
		next := rest[n]
		if rest = rest[n+1:]; next != ',' {
			return objects, next == ']' && len(rest) == 0
		}
	}
}

// jsonMembers calls fn for the members of an object in valid JSON: their names without quotes, their values as they are written. It stops and returns false
// when fn does, and at a space between the parts or an escape in a name, which our own writing does not have.
func jsonMembers(object []byte, fn func(name, value []byte) bool) bool {
	if len(object) < 2 || object[0] != '{' {
		return false
	}
	for rest := object[1:]; ; {
		n := jsonValue(rest)
		if n < 2 || rest[0] != '"' || n >= len(rest) || rest[n] != ':' {
			return len(object) == 2
		}
		name := rest[1 : n-1]
		rest = rest[n+1:]
		n = jsonValue(rest)
		if n == 0 || n >= len(rest) || bytes.IndexByte(name, '\\') >= 0 || !fn(name, rest[:n]) {
			return false
		}
		next := rest[n]
		if rest = rest[n+1:]; next != ',' {
			return next == '}' && len(rest) == 0
		}
	}
}

// jsonValue returns the length of the value that valid JSON begins with.
func jsonValue(b []byte) int {
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
			if !text && depth == 0 {
				return i + 1
			}
		case text:
		case c == '{', c == '[':
			depth++
		case c == '}', c == ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case c == ',' && depth == 0:
			return i
		}
	}
	return len(b)
}
