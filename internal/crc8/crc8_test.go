package crc8

import "testing"

func TestSum(t *testing.T) {
	for _, tt := range []struct {
		in   []byte
		want byte
	}{
		{nil, 0xff},
		{[]byte{0xbe, 0xef}, 0x92}, // the datasheets' example
		{[]byte{0x00, 0x00}, 0x81},
	} {
		if got := Sum(tt.in); got != tt.want {
			t.Errorf("%x: %#02x, want %#02x", tt.in, got, tt.want)
		}
	}
}
