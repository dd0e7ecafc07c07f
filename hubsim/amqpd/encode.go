package amqpd

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Format codes of the primitive types (AMQP 1.0 part 1, 1.6).
const (
	fmtDescribed  = 0x00
	fmtNull       = 0x40
	fmtTrue       = 0x41
	fmtFalse      = 0x42
	fmtUint0      = 0x43
	fmtUlong0     = 0x44
	fmtList0      = 0x45
	fmtUbyte      = 0x50
	fmtByte       = 0x51
	fmtSmallUint  = 0x52
	fmtSmallUlong = 0x53
	fmtSmallInt   = 0x54
	fmtSmallLong  = 0x55
	fmtBool       = 0x56
	fmtUshort     = 0x60
	fmtShort      = 0x61
	fmtUint       = 0x70
	fmtInt        = 0x71
	fmtFloat      = 0x72
	fmtChar       = 0x73
	fmtDecimal32  = 0x74
	fmtUlong      = 0x80
	fmtLong       = 0x81
	fmtDouble     = 0x82
	fmtTimestamp  = 0x83
	fmtDecimal64  = 0x84
	fmtDecimal128 = 0x94
	fmtUUID       = 0x98
	fmtBinary8    = 0xa0
	fmtString8    = 0xa1
	fmtSymbol8    = 0xa3
	fmtBinary32   = 0xb0
	fmtString32   = 0xb1
	fmtSymbol32   = 0xb3
	fmtList8      = 0xc0
	fmtMap8       = 0xc1
	fmtList32     = 0xd0
	fmtMap32      = 0xd1
	fmtArray8     = 0xe0
	fmtArray32    = 0xf0
)

// appendValue appends the shortest encoding of v; see Symbol for the Go types.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, fmtNull)
	case bool:
		if v {
			return append(b, fmtTrue)
		}
		return append(b, fmtFalse)
	case string:
		return appendBytes(b, fmtString8, fmtString32, v)
	case Symbol:
		return appendBytes(b, fmtSymbol8, fmtSymbol32, v)
	case []byte:
		return appendBytes(b, fmtBinary8, fmtBinary32, v)
	case float32:
		return binary.BigEndian.AppendUint32(append(b, fmtFloat), math.Float32bits(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, fmtDouble), math.Float64bits(v))
	case Char:
		return binary.BigEndian.AppendUint32(append(b, fmtChar), uint32(v))
	case UUID:
		return append(append(b, fmtUUID), v[:]...)
	case time.Time:
		return binary.BigEndian.AppendUint64(append(b, fmtTimestamp), uint64(v.UnixMilli()))
	case Decimal:
		return appendDecimal(b, v)
	default:
		if out, ok := appendInteger(b, v); ok {
			return out
		}
		return appendCompound(b, v)
	}
}

// appendInteger appends v if it is of an integer type.
func appendInteger(b []byte, v any) ([]byte, bool) {
	switch v := v.(type) {
	case uint8:
		return append(b, fmtUbyte, v), true
	case uint16:
		return binary.BigEndian.AppendUint16(append(b, fmtUshort), v), true
	case uint32:
		return appendUint(b, v), true
	case uint64:
		return appendUlong(b, v), true
	case uint:
		return appendUlong(b, uint64(v)), true
	case int8:
		return append(b, fmtByte, byte(v)), true
	case int16:
		return binary.BigEndian.AppendUint16(append(b, fmtShort), uint16(v)), true
	case int32:
		if v >= math.MinInt8 && v <= math.MaxInt8 {
			return append(b, fmtSmallInt, byte(v)), true
		}
		return binary.BigEndian.AppendUint32(append(b, fmtInt), uint32(v)), true
	case int64:
		return appendLong(b, v), true
	case int:
		return appendLong(b, int64(v)), true
	}
	return b, false
}

func appendUint(b []byte, v uint32) []byte {
	switch {
	case v == 0:
		return append(b, fmtUint0)
	case v <= math.MaxUint8:
		return append(b, fmtSmallUint, byte(v))
	}
	return binary.BigEndian.AppendUint32(append(b, fmtUint), v)
}

func appendUlong(b []byte, v uint64) []byte {
	switch {
	case v == 0:
		return append(b, fmtUlong0)
	case v <= math.MaxUint8:
		return append(b, fmtSmallUlong, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, fmtUlong), v)
}

func appendLong(b []byte, v int64) []byte {
	if v >= math.MinInt8 && v <= math.MaxInt8 {
		return append(b, fmtSmallLong, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, fmtLong), uint64(v))
}

// appendBytes appends one of the types that are a length and bytes.
func appendBytes[T ~string | ~[]byte](b []byte, code8, code32 byte, v T) []byte {
	if len(v) <= math.MaxUint8 {
		b = append(b, code8, byte(len(v)))
	} else {
		b = binary.BigEndian.AppendUint32(append(b, code32), uint32(len(v)))
	}
	return append(b, v...)
}

func appendDecimal(b []byte, v Decimal) []byte {
	switch len(v) {
	case 4:
		b = append(b, fmtDecimal32)
	case 8:
		b = append(b, fmtDecimal64)
	case 16:
		b = append(b, fmtDecimal128)
	default:
		return append(b, fmtNull)
	}
	return append(b, v...)
}

// appendCompound appends lists, maps, arrays and described values.
func appendCompound(b []byte, v any) []byte {
	switch v := v.(type) {
	case []any:
		return appendList(b, v)
	case Map:
		return appendSized(b, fmtMap8, fmtMap32, 2*len(v), func(b []byte) []byte {
			for _, e := range v {
				b = appendValue(appendValue(b, e.Key), e.Value)
			}
			return b
		})
	case Fields:
		return appendSized(b, fmtMap8, fmtMap32, 2*len(v), func(b []byte) []byte {
			for _, e := range v {
				b = appendValue(appendValue(b, Symbol(e.Key)), e.Value)
			}
			return b
		})
	case Array:
		return appendArray(b, v)
	case []Symbol:
		return appendArray(b, anys(v))
	case []string:
		return appendArray(b, anys(v))
	case *Described:
		if v == nil {
			return append(b, fmtNull)
		}
		return appendValue(appendValue(append(b, fmtDescribed), v.Descriptor), v.Value)
	}
	return appendValue(b, fmt.Sprint(v))
}

// anys copies a slice into an Array.
func anys[T any](s []T) Array {
	out := make(Array, len(s))
	for i, v := range s {
		out[i] = v
	}
	return out
}

// appendList appends a list as list0, list8 or list32.
func appendList(b []byte, list []any) []byte {
	if len(list) == 0 {
		return append(b, fmtList0)
	}
	return appendSized(b, fmtList8, fmtList32, len(list), func(b []byte) []byte {
		for _, v := range list {
			b = appendValue(b, v)
		}
		return b
	})
}

// appendSized appends size, count and what body appends; the size counts from
// behind itself. It starts with the short form and moves the body if it must.
func appendSized(b []byte, code8, code32 byte, count int, body func([]byte) []byte) []byte {
	start := len(b)
	b = body(append(b, code8, 0, byte(count)))
	size := len(b) - start - 2
	if size <= math.MaxUint8 && count <= math.MaxUint8 {
		b[start+1] = byte(size)
		return b
	}
	b = append(b, 0, 0, 0, 0, 0, 0)
	copy(b[start+9:], b[start+3:len(b)-6])
	b[start] = code32
	binary.BigEndian.PutUint32(b[start+1:], uint32(len(b)-start-5))
	binary.BigEndian.PutUint32(b[start+5:], uint32(count))
	return b
}
