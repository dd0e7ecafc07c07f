package amqpd

import (
	"fmt"
	"math"
)

// Descriptor codes of everything that we read or write (AMQP 1.0 parts 2, 3, 5).
const (
	codeOpen           = 0x10
	codeBegin          = 0x11
	codeAttach         = 0x12
	codeFlow           = 0x13
	codeTransfer       = 0x14
	codeDisposition    = 0x15
	codeDetach         = 0x16
	codeEnd            = 0x17
	codeClose          = 0x18
	codeError          = 0x1d
	codeReceived       = 0x23
	codeAccepted       = 0x24
	codeRejected       = 0x25
	codeReleased       = 0x26
	codeModified       = 0x27
	codeSource         = 0x28
	codeTarget         = 0x29
	codeSASLMechanisms = 0x40
	codeSASLInit       = 0x41
	codeSASLChallenge  = 0x42
	codeSASLResponse   = 0x43
	codeSASLOutcome    = 0x44
)

// codeOf returns the numeric form of a descriptor, 0 for one that we do not know.
func codeOf(descriptor any) uint64 {
	switch d := descriptor.(type) {
	case uint64:
		return d
	case Symbol:
		return codeOfSymbol(d)
	}
	return 0
}

func codeOfSymbol(s Symbol) uint64 {
	switch s {
	case "amqp:open:list":
		return codeOpen
	case "amqp:begin:list":
		return codeBegin
	case "amqp:attach:list":
		return codeAttach
	case "amqp:flow:list":
		return codeFlow
	case "amqp:transfer:list":
		return codeTransfer
	case "amqp:disposition:list":
		return codeDisposition
	case "amqp:detach:list":
		return codeDetach
	case "amqp:end:list":
		return codeEnd
	case "amqp:close:list":
		return codeClose
	case "amqp:error:list":
		return codeError
	case "amqp:received:list":
		return codeReceived
	case "amqp:accepted:list":
		return codeAccepted
	case "amqp:rejected:list":
		return codeRejected
	case "amqp:released:list":
		return codeReleased
	case "amqp:modified:list":
		return codeModified
	case "amqp:source:list":
		return codeSource
	case "amqp:target:list":
		return codeTarget
	case "amqp:sasl-mechanisms:list":
		return codeSASLMechanisms
	case "amqp:sasl-init:list":
		return codeSASLInit
	case "amqp:sasl-challenge:list":
		return codeSASLChallenge
	case "amqp:sasl-response:list":
		return codeSASLResponse
	case "amqp:sasl-outcome:list":
		return codeSASLOutcome
	}
	return 0
}

// fieldReader reads the fields of a described list one after the other. Null
// and missing fields give the default. The first error stays in err.
type fieldReader struct {
	list []any
	err  error
}

func (r *fieldReader) next() any {
	if len(r.list) == 0 {
		return nil
	}
	v := r.list[0]
	r.list = r.list[1:]
	return v
}

func (r *fieldReader) fail(v any, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("field of type %T, want %s", v, want)
	}
}

// uint reads an unsigned integer of any width up to limit; given says whether
// the field was there.
func (r *fieldReader) uint(limit uint64, def uint64) (n uint64, given bool) {
	v := r.next()
	switch x := v.(type) {
	case nil:
		return def, false
	case uint8:
		n = uint64(x)
	case uint16:
		n = uint64(x)
	case uint32:
		n = uint64(x)
	case uint64:
		n = x
	default:
		r.fail(v, "an unsigned integer")
		return def, false
	}
	if n > limit {
		if r.err == nil {
			r.err = fmt.Errorf("field of value %d is too large", n)
		}
		return def, false
	}
	return n, true
}

func (r *fieldReader) uint32(def uint32) uint32 {
	n, _ := r.uint(math.MaxUint32, uint64(def))
	return uint32(n)
}

func (r *fieldReader) uint16(def uint16) uint16 {
	n, _ := r.uint(math.MaxUint16, uint64(def))
	return uint16(n)
}

func (r *fieldReader) uint8(def uint8) uint8 {
	n, _ := r.uint(math.MaxUint8, uint64(def))
	return uint8(n)
}

// optUint32 reads a field whose absence means something.
func (r *fieldReader) optUint32() optional {
	n, given := r.uint(math.MaxUint32, 0)
	return optional{uint32(n), given}
}

func (r *fieldReader) bool() bool {
	v := r.next()
	b, ok := v.(bool)
	if !ok && v != nil {
		r.fail(v, "boolean")
	}
	return b
}

// text reads a string or a symbol, which peers mix up now and then.
func (r *fieldReader) text() string {
	switch v := r.next().(type) {
	case nil:
	case string:
		return v
	case Symbol:
		return string(v)
	default:
		r.fail(v, "string")
	}
	return ""
}

func (r *fieldReader) binary() []byte {
	v := r.next()
	b, ok := v.([]byte)
	if !ok && v != nil {
		r.fail(v, "binary")
	}
	return b
}

func (r *fieldReader) mapping() Map {
	v := r.next()
	m, ok := v.(Map)
	if !ok && v != nil {
		r.fail(v, "map")
	}
	return m
}

// fields reads a map whose keys should be symbols.
func (r *fieldReader) fields() Fields {
	m := r.mapping()
	if m == nil {
		return nil
	}
	out := make(Fields, 0, len(m))
	for _, e := range m {
		switch k := e.Key.(type) {
		case Symbol:
			out = append(out, Field{string(k), e.Value})
		case string:
			out = append(out, Field{k, e.Value})
		default:
			r.fail(e.Key, "symbol as a key")
		}
	}
	return out
}

// described reads a described list and returns a reader of it, or nil for null.
func (r *fieldReader) described() (uint64, *fieldReader) {
	v := r.next()
	if v == nil {
		return 0, nil
	}
	code, list, err := describedList(v)
	if err != nil {
		if r.err == nil {
			r.err = err
		}
		return 0, nil
	}
	return code, &fieldReader{list: list}
}

// describedList takes a described list apart.
func describedList(v any) (uint64, []any, error) {
	d, ok := v.(*Described)
	if !ok {
		return 0, nil, fmt.Errorf("value of type %T, want a described list", v)
	}
	list, ok := d.Value.([]any)
	if !ok {
		return 0, nil, fmt.Errorf("described value of type %T, want a list", d.Value)
	}
	return codeOf(d.Descriptor), list, nil
}

// optional is a uint field that may be absent.
type optional struct {
	n     uint32
	given bool
}

func some(n uint32) optional { return optional{n, true} }

// value returns what appendValue takes.
func (o optional) value() any {
	if !o.given {
		return nil
	}
	return o.n
}
