package amqpd

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// appendArray appends an array. All elements share one constructor, so every
// one is written in the widest form of the first one's type; an element of
// another type is written as the zero value, which callers do not let happen.
func appendArray(b []byte, a Array) []byte {
	if len(a) == 0 {
		return append(b, fmtArray8, 2, 0, fmtNull)
	}
	var prefix []byte
	elems := []any(a)
	if d, ok := a[0].(*Described); ok {
		prefix = appendValue([]byte{fmtDescribed}, d.Descriptor)
		elems = make([]any, len(a))
		for i, e := range a {
			if d, ok := e.(*Described); ok && d != nil {
				elems[i] = d.Value
			}
		}
	}
	code := arrayCode(elems[0])
	return appendSized(b, fmtArray8, fmtArray32, len(a), func(b []byte) []byte {
		b = append(append(b, prefix...), code)
		for _, e := range elems {
			b = appendElement(b, code, e)
		}
		return b
	})
}

// arrayCode returns the format code under which every value of v's type fits.
func arrayCode(v any) byte {
	switch v := v.(type) {
	case nil:
		return fmtNull
	case bool:
		return fmtBool
	case uint8:
		return fmtUbyte
	case uint16:
		return fmtUshort
	case uint32:
		return fmtUint
	case uint64, uint:
		return fmtUlong
	case int8:
		return fmtByte
	case int16:
		return fmtShort
	case int32:
		return fmtInt
	case int64, int:
		return fmtLong
	case float32:
		return fmtFloat
	case float64:
		return fmtDouble
	case Char:
		return fmtChar
	case time.Time:
		return fmtTimestamp
	case UUID:
		return fmtUUID
	case Decimal:
		return map[int]byte{4: fmtDecimal32, 8: fmtDecimal64, 16: fmtDecimal128}[len(v)]
	case Symbol:
		return fmtSymbol32
	case []byte:
		return fmtBinary32
	case []any:
		return fmtList32
	case Map, Fields:
		return fmtMap32
	case Array, []Symbol, []string:
		return fmtArray32
	}
	return fmtString32
}

// appendElement appends one array element without a constructor.
func appendElement(b []byte, code byte, v any) []byte {
	if arrayCode(v) != code {
		v = nil
	}
	switch code {
	case fmtNull:
		return b
	case fmtBool:
		x, _ := v.(bool)
		if x {
			return append(b, 1)
		}
		return append(b, 0)
	case fmtString32:
		s := ""
		if v != nil {
			s = fmt.Sprint(v)
		}
		return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	if w := fixedWidth(code); w > 0 && v == nil {
		return append(b, make([]byte, w)...)
	}
	return append(b, widen(code, appendValue(nil, v))...)
}

// widen turns the shortest encoding of a value into the bytes that follow the
// wide format code: constructor off, small and short forms expanded.
func widen(code byte, enc []byte) []byte {
	if enc[0] == code {
		return enc[1:]
	}
	if w := fixedWidth(code); w > 0 {
		return widenNumber(w, enc)
	}
	out := make([]byte, 0, len(enc)+8)
	switch enc[0] {
	case fmtList8, fmtMap8, fmtArray8: // size and count grow from one byte to four
		out = binary.BigEndian.AppendUint32(out, uint32(enc[1])+3)
		out = binary.BigEndian.AppendUint32(out, uint32(enc[2]))
		return append(out, enc[3:]...)
	case fmtList0:
		return append(out, 0, 0, 0, 4, 0, 0, 0, 0)
	case fmtNull: // a foreign element of a variable-width array
		if code >= fmtList32 {
			return append(out, 0, 0, 0, 4, 0, 0, 0, 0)
		}
		return append(out, 0, 0, 0, 0)
	}
	out = binary.BigEndian.AppendUint32(out, uint32(enc[1]))
	return append(out, enc[2:]...)
}

// widenNumber expands a small integer to w bytes, with its sign.
func widenNumber(w int, enc []byte) []byte {
	out := make([]byte, w)
	if len(enc) == 1 { // uint0, ulong0
		return out
	}
	signed := enc[0] == fmtSmallInt || enc[0] == fmtSmallLong
	if signed && enc[1] > math.MaxInt8 {
		for i := range out {
			out[i] = 0xff
		}
	}
	out[w-1] = enc[1]
	return out
}

// fixedWidth returns the number of bytes behind a format code of fixed width,
// -1 for one of variable width and -2 for one that does not exist.
func fixedWidth(code byte) int {
	switch code {
	case fmtNull, fmtTrue, fmtFalse, fmtUint0, fmtUlong0, fmtList0:
		return 0
	case fmtUbyte, fmtByte, fmtSmallUint, fmtSmallUlong, fmtSmallInt, fmtSmallLong, fmtBool:
		return 1
	case fmtUshort, fmtShort:
		return 2
	case fmtUint, fmtInt, fmtFloat, fmtChar, fmtDecimal32:
		return 4
	case fmtUlong, fmtLong, fmtDouble, fmtTimestamp, fmtDecimal64:
		return 8
	case fmtDecimal128, fmtUUID:
		return 16
	case fmtBinary8, fmtBinary32, fmtString8, fmtString32, fmtSymbol8, fmtSymbol32,
		fmtList8, fmtList32, fmtMap8, fmtMap32, fmtArray8, fmtArray32:
		return -1
	}
	return -2
}
