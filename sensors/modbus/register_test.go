package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// A number that is too small to be true names the order that it was read in.
func TestSmallNumber(t *testing.T) {
	for order, want := range map[string]string{"": `order = "ABCD"`, "DCBA": `order = "DCBA"`} {
		r := Register{Name: "a_volts", Table: "input", Type: "float32", Order: order}
		b := []byte{0, 0, 0x43, 0x65}
		if order == "DCBA" {
			slices.Reverse(b)
		}
		if _, err := r.value(b); !errors.Is(err, errNoValue) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", order, err)
		}
	}
}

// One number in each order, as the manuals have it.
func TestOrders(t *testing.T) {
	for _, tc := range []struct {
		typ   string
		value float64
		bytes [4]string // ABCD, CDAB, BADC, DCBA
	}{
		{"float32", 123456, [4]string{"47f1 2000", "2000 47f1", "f147 0020", "0020 f147"}},
		{"float32", 23.5, [4]string{"41bc 0000", "0000 41bc", "bc41 0000", "0000 bc41"}},
		{"float32", -12.25, [4]string{"c144 0000", "0000 c144", "44c1 0000", "0000 44c1"}},
		{"float32", 1013.25, [4]string{"447d 5000", "5000 447d", "7d44 0050", "0050 7d44"}},
		{"float32", 23.1, [4]string{"41b8 cccd", "cccd 41b8", "b841 cdcc", "cdcc b841"}},
		{"uint32", 123456, [4]string{"0001 e240", "e240 0001", "0100 40e2", "40e2 0100"}},
		{"int32", -2, [4]string{"ffff fffe", "fffe ffff", "ffff feff", "feff ffff"}},
		{"uint16", 258, [4]string{"0102", "0102", "0201", "0201"}},
		{"int16", -2, [4]string{"fffe", "fffe", "feff", "feff"}},
		{"uint64", 0x0102030405060708, [4]string{"0102 0304 0506 0708", "0708 0506 0304 0102", "0201 0403 0605 0807", "0807 0605 0403 0201"}},
		{"int64", -2, [4]string{"ffff ffff ffff fffe", "fffe ffff ffff ffff", "ffff ffff ffff feff", "feff ffff ffff ffff"}},
		{"float64", 23.5, [4]string{"4037 8000 0000 0000", "0000 0000 8000 4037", "3740 0080 0000 0000", "0000 0000 0080 3740"}},
	} {
		for i, order := range []string{"ABCD", "CDAB", "BADC", "DCBA"} {
			r := Register{Name: "a_volts", Table: "input", Type: tc.typ, Order: order}
			if got, err := r.value(bytesOf(tc.bytes[i])); got != tc.value || err != nil {
				t.Errorf("%s %s %s: %g, %v; want %g", tc.typ, order, tc.bytes[i], got, err, tc.value)
			}
		}
	}
}

func TestScaleOffsetAndBits(t *testing.T) {
	scale := func(f float64) *float64 { return &f }
	for _, tc := range []struct {
		r     Register
		bytes string
		want  float64
	}{
		{Register{Scale: scale(0.1)}, "08fd", 230.1},
		{Register{Scale: scale(0.001)}, "08fd", 2.301},
		{Register{Scale: scale(-0.1)}, "08fd", -230.1},
		{Register{Scale: scale(10), Offset: -5}, "0002", 15},
		{Register{Scale: scale(0.3)}, "000a", 3},
		{Register{Type: "int16", Scale: scale(0.1), Offset: -40}, "ffff", -40.1},
		{Register{Type: "bit", Bit: 0}, "0001", 1},
		{Register{Type: "bit", Bit: 15}, "8000", 1},
		{Register{Type: "bit", Bit: 8, Order: "DCBA"}, "0001", 1},
		{Register{Type: "bit", Bit: 3}, "fff7", 0},
	} {
		tc.r.Table = "holding"
		if got, err := tc.r.value(bytesOf(tc.bytes)); got != tc.want || err != nil {
			t.Errorf("%+v of %s: %v, %v; want %v", tc.r, tc.bytes, got, err, tc.want)
		}
	}
}

func TestNoValue(t *testing.T) {
	huge := 1e308
	for _, tc := range []struct {
		r     Register
		bytes string
	}{
		{Register{Type: "int16", Reject: []float64{0x7fff, 0x8000}}, "7fff"},
		{Register{Type: "int16", Reject: []float64{0x7fff, 0x8000}}, "8000"},
		{Register{Type: "int16", Reject: []float64{-32768}}, "8000"},
		{Register{Type: "uint16", Reject: []float64{-1}}, "ffff"},
		{Register{Type: "uint32", Reject: []float64{0xffffffff}}, "ffff ffff"},
		{Register{Type: "uint64", Reject: []float64{-1}}, "ffff ffff ffff ffff"},
		{Register{Type: "float32", Reject: []float64{-9999.9}}, "c61c 3f9a"},
		{Register{Type: "float32"}, "7fc0 0000"},                // NaN
		{Register{Type: "float32"}, "ff80 0000"},                // −Inf
		{Register{Type: "float64"}, "7ff8 0000 0000 0000"},      // NaN
		{Register{Type: "float32"}, "0000 41bc"},                // 23.5 in another order
		{Register{Type: "float32", Order: "DCBA"}, "41bc 0000"}, // the same
		{Register{Type: "uint16", Scale: &huge}, "ffff"},
	} {
		tc.r.Table = "input"
		if got, err := tc.r.value(bytesOf(tc.bytes)); !errors.Is(err, errNoValue) {
			t.Errorf("%+v of %s: %v, %v", tc.r, tc.bytes, got, err)
		}
	}
	zero := Register{Table: "input", Type: "float32", Reject: []float64{1}}
	if got, err := zero.value(make([]byte, 4)); got != 0 || err != nil {
		t.Errorf("0: %v, %v", got, err)
	}
}

func TestPlan(t *testing.T) {
	reg := func(table string, at int, typ string) Register {
		return Register{Table: table, Address: &at, Type: typ}
	}
	one := 1
	var hundred, bits []Register
	for i := range 130 {
		hundred = append(hundred, reg("holding", i, ""))
		bits = append(bits, reg("coil", 16*i, ""))
	}
	for name, tc := range map[string]struct {
		registers  []Register
		base       *int
		batch, gap int
		want       []string
	}{
		"neighbours":         {[]Register{reg("holding", 2, "float32"), reg("holding", 0, ""), reg("holding", 1, "")}, nil, 125, 0, []string{"holding 0 to 3"}},
		"a gap":              {[]Register{reg("input", 0, ""), reg("input", 2, "")}, nil, 125, 0, []string{"input 0", "input 2"}},
		"a gap that is read": {[]Register{reg("input", 0, ""), reg("input", 2, "")}, nil, 125, 1, []string{"input 0 to 2"}},
		"two tables":         {[]Register{reg("input", 0, ""), reg("holding", 1, "")}, nil, 125, 5, []string{"holding 1", "input 0"}},
		"one inside another": {[]Register{reg("input", 0, "uint64"), reg("input", 1, ""), reg("input", 4, "")}, nil, 125, 0, []string{"input 0 to 4"}},
		"two bits of one":    {[]Register{reg("input", 7, "bit"), reg("input", 7, "bit")}, nil, 1, 0, []string{"input 7"}},
		"more than a batch":  {hundred, nil, 125, 0, []string{"holding 0 to 124", "holding 125 to 129"}},
		"a small batch":      {[]Register{reg("input", 0, "uint32"), reg("input", 2, "uint32"), reg("input", 4, "")}, nil, 3, 0, []string{"input 0 to 1", "input 2 to 4"}},
		"bits":               {bits, nil, 125, 15, []string{"coil 0 to 1984", "coil 2000 to 2064"}},
		"counted from 1":     {[]Register{reg("input", 1, ""), reg("input", 2, "")}, &one, 125, 0, []string{"input 0 to 1"}},
		"the last":           {[]Register{reg("input", 65535, "")}, nil, 125, 0, []string{"input 65535"}},
		"nothing":            {nil, nil, 125, 0, nil},
	} {
		var got []string
		members := 0
		for _, b := range plan(tc.registers, tc.base, tc.batch, tc.gap) {
			got = append(got, b.String())
			members += len(b.members)
			for _, m := range b.members {
				if r := tc.registers[m.index]; b.address+m.offset != r.first(tc.base) || m.offset+r.count() > b.count {
					t.Errorf("%s: register %d is not at %d of %s", name, m.index, m.offset, b)
				}
			}
		}
		if !slices.Equal(got, tc.want) || members != len(tc.registers) {
			t.Errorf("%s: %q with %d registers, want %q", name, got, members, tc.want)
		}
	}
}

// Whatever the registers, a value is finite or an error.
func FuzzValue(f *testing.F) {
	f.Add(uint64(0x41bc000000000000), uint8(6), uint8(0), 0.1, 1.0, 0.0)
	f.Add(uint64(0x7ff8000000000000), uint8(7), uint8(3), 1.0, 0.0, -1.0)
	f.Add(uint64(math.MaxUint64), uint8(4), uint8(1), 1e300, 1e308, -1.0)
	f.Fuzz(func(t *testing.T, bits uint64, typ, order uint8, scale, offset, reject float64) {
		if scale == 0 || math.IsNaN(scale+offset+reject) || math.IsInf(scale+offset+reject, 0) {
			return
		}
		orders := []string{"ABCD", "CDAB", "BADC", "DCBA"}
		r := Register{Table: "holding", Type: types()[int(typ)%len(types())], Order: orders[order%4], Reject: []float64{reject}}
		if r.Type != "bit" {
			r.Scale, r.Offset = &scale, offset
		}
		b := binary.BigEndian.AppendUint64(nil, bits)[:2*r.count()]
		if v, err := r.value(b); err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			t.Errorf("%s gave %g", fmt.Sprintf("%+v of % x", r, b), v)
		}
	})
}
