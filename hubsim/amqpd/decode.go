package amqpd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// Limits on what a peer may make us build. A value needs at least one byte on
// the wire, except for the elements of an array of a zero-width type.
const (
	maxDepth     = 24
	maxZeroWidth = 32
)

var errShort = errors.New("value is cut off")

// decoder reads values from a buffer. What it returns does not alias the buffer.
type decoder struct {
	b     []byte
	depth int
}

func (d *decoder) take(n int) ([]byte, error) {
	if n < 0 || n > len(d.b) {
		return nil, errShort
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p, nil
}

// value reads one value with its constructor.
func (d *decoder) value() (any, error) {
	p, err := d.take(1)
	if err != nil {
		return nil, err
	}
	if p[0] != fmtDescribed {
		return d.primitive(p[0])
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.leave()
	desc, err := d.descriptor()
	if err != nil {
		return nil, err
	}
	v, err := d.value()
	if err != nil {
		return nil, err
	}
	return &Described{Descriptor: desc, Value: v}, nil
}

// descriptor reads a descriptor, which must be a ulong or a symbol.
func (d *decoder) descriptor() (any, error) {
	v, err := d.value()
	if err != nil {
		return nil, err
	}
	switch v.(type) {
	case uint64, Symbol:
		return v, nil
	}
	return nil, fmt.Errorf("descriptor of type %T", v)
}

func (d *decoder) enter() error {
	if d.depth++; d.depth > maxDepth {
		return fmt.Errorf("values are nested more than %d deep", maxDepth)
	}
	return nil
}

func (d *decoder) leave() { d.depth-- }

// primitive reads what follows a format code.
func (d *decoder) primitive(code byte) (any, error) {
	w := fixedWidth(code)
	if w == -2 {
		return nil, fmt.Errorf("unknown format code 0x%02x", code)
	}
	if w >= 0 {
		p, err := d.take(w)
		if err != nil {
			return nil, err
		}
		return fixed(code, p)
	}
	size, err := d.length(code)
	if err != nil {
		return nil, err
	}
	p, err := d.take(size)
	if err != nil {
		return nil, err
	}
	switch code {
	case fmtBinary8, fmtBinary32:
		return append([]byte{}, p...), nil
	case fmtString8, fmtString32:
		if !utf8.Valid(p) {
			return nil, errors.New("string is not UTF-8")
		}
		return string(p), nil
	case fmtSymbol8, fmtSymbol32:
		return Symbol(p), nil
	}
	return d.compound(code, p)
}

// length reads the length of a variable-width value: one byte below 0xb0 and
// in the families 0xc0 and 0xe0, otherwise four.
func (d *decoder) length(code byte) (int, error) {
	n := 4
	if code&0x10 == 0 {
		n = 1
	}
	p, err := d.take(n)
	if err != nil {
		return 0, err
	}
	return number(p)
}

// number reads a big-endian number of one or four bytes that fits an int.
func number(p []byte) (int, error) {
	if len(p) == 1 {
		return int(p[0]), nil
	}
	n := binary.BigEndian.Uint32(p)
	if n > math.MaxInt32 {
		return 0, errShort // no buffer of ours is that long
	}
	return int(n), nil
}

// fixed interprets the bytes of a fixed-width value.
func fixed(code byte, p []byte) (any, error) {
	switch code {
	case fmtNull:
		return nil, nil //nolint:nilnil // The AMQP null is a nil value.
	case fmtTrue:
		return true, nil
	case fmtFalse:
		return false, nil
	case fmtBool:
		if p[0] > 1 {
			return nil, fmt.Errorf("boolean of value %d", p[0])
		}
		return p[0] == 1, nil
	case fmtList0:
		return []any{}, nil
	case fmtFloat:
		return math.Float32frombits(binary.BigEndian.Uint32(p)), nil
	case fmtDouble:
		return math.Float64frombits(binary.BigEndian.Uint64(p)), nil
	case fmtChar:
		return Char(binary.BigEndian.Uint32(p)), nil
	case fmtTimestamp:
		return time.UnixMilli(int64(binary.BigEndian.Uint64(p))).UTC(), nil
	case fmtUUID:
		return UUID(p), nil
	case fmtDecimal32, fmtDecimal64, fmtDecimal128:
		return append(Decimal{}, p...), nil
	}
	return integer(code, p), nil
}

// integer interprets the bytes of an integer.
func integer(code byte, p []byte) any {
	switch code {
	case fmtUint0:
		return uint32(0)
	case fmtUlong0:
		return uint64(0)
	case fmtUbyte:
		return p[0]
	case fmtByte:
		return int8(p[0])
	case fmtSmallUint:
		return uint32(p[0])
	case fmtSmallUlong:
		return uint64(p[0])
	case fmtSmallInt:
		return int32(int8(p[0]))
	case fmtSmallLong:
		return int64(int8(p[0]))
	case fmtUshort:
		return binary.BigEndian.Uint16(p)
	case fmtShort:
		return int16(binary.BigEndian.Uint16(p))
	case fmtUint:
		return binary.BigEndian.Uint32(p)
	case fmtInt:
		return int32(binary.BigEndian.Uint32(p))
	case fmtUlong:
		return binary.BigEndian.Uint64(p)
	}
	return int64(binary.BigEndian.Uint64(p)) // fmtLong
}
