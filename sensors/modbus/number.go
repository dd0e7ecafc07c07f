package modbus

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
)

// ordered returns the bytes of a number from the most significant to the least.
func ordered(b []byte, order string) []byte {
	out := slices.Clone(b)
	swapBytes := order == "BADC" || order == "DCBA"
	swapWords := order == "CDAB" || order == "DCBA"
	if swapBytes {
		for i := 0; i+1 < len(out); i += 2 {
			out[i], out[i+1] = out[i+1], out[i]
		}
	}
	if swapWords {
		for i, j := 0, len(out)-2; i < j; i, j = i+2, j-2 {
			out[i], out[i+1], out[j], out[j+1] = out[j], out[j+1], out[i], out[i+1]
		}
	}
	return out
}

// number returns the number of that type, and what the same bits are with, or without, a sign: manuals write "0x8000" or "-32768".
func number(b []byte, typ string, bit int) (raw, twin float64) {
	switch typ {
	case "uint16", "int16":
		u := binary.BigEndian.Uint16(b)
		raw, twin = float64(u), float64(int16(u))
	case "uint32", "int32":
		u := binary.BigEndian.Uint32(b)
		raw, twin = float64(u), float64(int32(u))
	case "uint64", "int64":
		u := binary.BigEndian.Uint64(b)
		raw, twin = float64(u), float64(int64(u))
	case "float32":
		f := shortest(math.Float32frombits(binary.BigEndian.Uint32(b)))
		return f, f
	case "float64":
		f := math.Float64frombits(binary.BigEndian.Uint64(b))
		return f, f
	default: // bit
		v := float64(binary.BigEndian.Uint16(b) >> bit & 1)
		return v, v
	}
	if typ[0] == 'i' {
		raw, twin = twin, raw
	}
	return raw, twin
}

// shortest returns the number that a person writes for f: 23.1 and not 23.100000381469727. It is the same float32.
func shortest(f float32) float64 {
	s, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	if err != nil {
		return float64(f)
	}
	return s
}
