package amqpd

import "fmt"

// The Go types of decoded AMQP values are
//
//	null               nil
//	boolean            bool
//	ubyte … ulong      uint8, uint16, uint32, uint64
//	byte … long        int8, int16, int32, int64
//	float, double      float32, float64
//	decimal32 … 128    Decimal
//	char               Char
//	timestamp          time.Time (UTC, milliseconds)
//	uuid               UUID
//	binary             []byte
//	string, symbol     string, Symbol
//	list, map, array   []any, Map, Array
//	described type     *Described
//
// and these are what may stand in Fields, Map and Described that are sent. Of
// other Go types, int and uint go out as long and ulong, Fields as a map with
// symbol keys, []string and []Symbol as arrays, anything else as the string
// that fmt.Sprint makes of it.

// Symbol is an AMQP symbol: ASCII text from a constrained domain.
type Symbol string

// Char is an AMQP char: one Unicode code point.
type Char rune

// UUID is an AMQP uuid in network byte order.
type UUID [16]byte

// Decimal holds the 4, 8 or 16 bytes of an IEEE 754-2008 decimal number, not interpreted.
type Decimal []byte

// Array is an AMQP array; all elements have the same type.
type Array []any

// Described is a value with a descriptor, which is a uint64 or a Symbol.
type Described struct {
	Descriptor any
	Value      any
}

// Map is an AMQP map in the order of the wire.
type Map []MapEntry

// MapEntry is one key and its value.
type MapEntry struct{ Key, Value any }

// Get returns the value of a key that is a string or a symbol.
func (m Map) Get(key string) (any, bool) {
	for _, e := range m {
		switch k := e.Key.(type) {
		case string:
			if k == key {
				return e.Value, true
			}
		case Symbol:
			if string(k) == key {
				return e.Value, true
			}
		}
	}
	return nil, false
}

// Fields is a map whose keys are symbols, in the order of the wire.
type Fields []Field

// Field is one key and its value.
type Field struct {
	Key   string
	Value any
}

// Get returns the value of a key.
func (f Fields) Get(key string) (any, bool) {
	for _, e := range f {
		if e.Key == key {
			return e.Value, true
		}
	}
	return nil, false
}

// String returns the value of a key if it is a string or a symbol, otherwise "".
func (f Fields) String(key string) string {
	v, _ := f.Get(key)
	switch s := v.(type) {
	case string:
		return s
	case Symbol:
		return string(s)
	}
	return ""
}

// String returns the 8-4-4-4-12 form.
func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
