package iothub

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxDepth bounds nested values. Real frames nest five deep; a decoder that recurses must not be led to exhaust the stack.
const maxDepth = 24

var errTruncated = errors.New("truncated value")

// skipValue checks the encoded value at the start of b (AMQP 1.0 part 1 §1.6) and returns what follows it. Beyond the encoding itself it insists on what
// the AMQP library trusts: sizes that agree with their contents, shallow nesting, and map keys that are plain values.
func skipValue(b []byte, depth int) (rest []byte, err error) {
	if depth > maxDepth {
		return nil, errors.New("values nested too deeply")
	}
	if len(b) == 0 {
		return nil, errTruncated
	}
	if b[0] != 0 {
		return skipBody(b[0], b[1:], depth)
	}
	// A described value: the descriptor, then the value itself.
	if len(b) > 1 && !plain(b[1]) {
		return nil, errors.New("compound descriptor")
	}
	if rest, err = skipValue(b[1:], depth+1); err != nil {
		return nil, err
	}
	return skipValue(rest, depth+1)
}

// plain reports whether a constructor is that of a primitive value, neither described nor compound (0x45 is the empty list).
func plain(constructor byte) bool {
	return constructor >= 0x40 && constructor < 0xc0 && constructor != 0x45
}

// skipBody skips what follows a constructor: its high half says how wide it is.
func skipBody(constructor byte, b []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, errors.New("values nested too deeply")
	}
	var size int
	switch constructor >> 4 {
	case 0x4:
		return b, nil
	case 0x5, 0x6, 0x7, 0x8, 0x9:
		size = 1 << (constructor>>4 - 5)
	case 0xa, 0xc, 0xe:
		if len(b) < 1 {
			return nil, errTruncated
		}
		size, b = int(b[0]), b[1:]
	case 0xb, 0xd, 0xf:
		if len(b) < 4 {
			return nil, errTruncated
		}
		n := binary.BigEndian.Uint32(b)
		if b = b[4:]; uint64(n) > uint64(len(b)) {
			return nil, errTruncated
		}
		size = int(n)
	default:
		return nil, fmt.Errorf("unknown constructor %#02x", constructor)
	}
	if size > len(b) {
		return nil, errTruncated
	}
	if constructor >= 0xc0 {
		if err := checkCompound(constructor, b[:size], depth); err != nil {
			return nil, err
		}
	}
	return b[size:], nil
}

// checkCompound checks the inside of a list, a map or an array: the count, then the elements, which must fill it exactly.
func checkCompound(constructor byte, b []byte, depth int) error {
	width := 1
	if constructor&0x10 != 0 {
		width = 4
	}
	if len(b) < width {
		return errTruncated
	}
	var count uint32
	if width == 1 {
		count = uint32(b[0])
	} else {
		count = binary.BigEndian.Uint32(b)
	}
	b = b[width:]
	if constructor >= 0xe0 {
		return checkArray(count, b, depth)
	}
	isMap := constructor&0x0f == 1
	if isMap && count%2 != 0 {
		return errors.New("map with an odd number of values")
	}
	var err error
	for i := range count {
		if isMap && i%2 == 0 && len(b) > 0 && (!plain(b[0]) || b[0] == 0xa0 || b[0] == 0xb0) {
			return errors.New("map key is binary or compound") // in Go, slices cannot be keys: the library would panic
		}
		if b, err = skipValue(b, depth+1); err != nil {
			return err
		}
	}
	if len(b) != 0 {
		return errors.New("compound longer than its elements")
	}
	return nil
}

func checkArray(count uint32, b []byte, depth int) error {
	if len(b) == 0 {
		return errTruncated
	}
	constructor := b[0]
	b = b[1:]
	if constructor == 0 {
		return errors.New("array of described values")
	}
	if constructor>>4 == 4 { // no bytes for an element
		if len(b) != 0 {
			return errors.New("array longer than its elements")
		}
		return nil
	}
	var err error
	for range count {
		if b, err = skipBody(constructor, b, depth+1); err != nil {
			return err
		}
	}
	if len(b) != 0 {
		return errors.New("array longer than its elements")
	}
	return nil
}

// list splits the list at the start of b into its fields, still encoded, and returns what follows it. The list has been checked by skipValue.
func list(b []byte) (fields [][]byte, rest []byte, err error) {
	if rest, err = skipValue(b, 0); err != nil {
		return nil, nil, err
	}
	var inside []byte
	switch b[0] {
	case 0x45:
		return nil, rest, nil
	case 0xc0:
		inside = b[3 : len(b)-len(rest)]
	case 0xd0:
		inside = b[9 : len(b)-len(rest)]
	default:
		return nil, nil, fmt.Errorf("constructor %#02x is not a list", b[0])
	}
	fields = make([][]byte, 0, 14) // an attach has as many
	for len(inside) > 0 {
		after, err := skipValue(inside, 1)
		if err != nil {
			return nil, nil, err
		}
		fields = append(fields, inside[:len(inside)-len(after)])
		inside = after
	}
	return fields, rest, nil
}

// field returns the nth field, or nil where it is absent or null.
func field(fields [][]byte, n int) []byte {
	if n >= len(fields) || fields[n][0] == 0x40 {
		return nil
	}
	return fields[n]
}

// uintField returns the nth field as an unsigned number of any width.
func uintField(fields [][]byte, n int) (value uint32, ok bool) {
	f := field(fields, n)
	if f == nil {
		return 0, false
	}
	switch f[0] {
	case 0x43:
		return 0, true
	case 0x50, 0x52:
		return uint32(f[1]), true
	case 0x60:
		return uint32(binary.BigEndian.Uint16(f[1:])), true
	case 0x70:
		return binary.BigEndian.Uint32(f[1:]), true
	}
	return 0, false
}

func boolField(fields [][]byte, n int) bool {
	f := field(fields, n)
	return f != nil && (f[0] == 0x41 || f[0] == 0x56 && f[1] != 0)
}

// textField returns the nth field as a string or a symbol.
func textField(fields [][]byte, n int) string {
	f := field(fields, n)
	if f == nil {
		return ""
	}
	switch f[0] {
	case 0xa1, 0xa3:
		return string(f[2:])
	case 0xb1, 0xb3:
		return string(f[5:])
	}
	return ""
}

// encodeUint returns n as a uint in its shortest form.
func encodeUint(n uint32) []byte {
	switch {
	case n == 0:
		return []byte{0x43}
	case n < 256:
		return []byte{0x52, byte(n)}
	}
	return binary.BigEndian.AppendUint32([]byte{0x70}, n)
}

// encodeList is the inverse of list; it keeps to the long form where the original had it.
func encodeList(fields [][]byte, long bool) []byte {
	size := 0
	for _, f := range fields {
		size += len(f)
	}
	var b []byte
	if long || size+1 > 255 || len(fields) > 255 {
		b = append(b, 0xd0)
		b = binary.BigEndian.AppendUint32(b, uint32(size)+4)
		b = binary.BigEndian.AppendUint32(b, uint32(len(fields)))
	} else {
		b = append(b, 0xc0, byte(size+1), byte(len(fields)))
	}
	for _, f := range fields {
		b = append(b, f...)
	}
	return b
}
