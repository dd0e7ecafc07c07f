package iothub_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"iotagent/iothub"
)

// withUint sets a field of a performative to a number.
func withUint(f []byte, n int, value uint32) []byte {
	fields := splitList(f[11:])
	fields[n] = binary.BigEndian.AppendUint32([]byte{0x70}, value)
	body := bytes.Join(fields, nil)
	out := append([]byte{0, 0x53, f[10], 0xd0}, binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(fields)))
	return frame(f, append(out, body...)...)
}

// splitList splits a list of plain values.
func splitList(b []byte) (fields [][]byte) {
	if b[0] == 0xd0 {
		b = b[9:]
	} else {
		b = b[3:]
	}
	for len(b) > 0 {
		n := 1
		switch b[0] >> 4 {
		case 5:
			n = 2
		case 6:
			n = 3
		case 7:
			n = 5
		case 8:
			n = 9
		case 0xa, 0xc, 0xe:
			n = 2 + int(b[1])
		case 0xb, 0xd, 0xf:
			n = 5 + int(binary.BigEndian.Uint32(b[1:]))
		}
		fields, b = append(fields, b[:n]), b[n:]
	}
	return fields
}

// Frames that would end the process (handle 1 is the command link's) inside the library end the connection instead.
func TestHostileFrames(t *testing.T) {
	annotation := []byte{0, 0x53, 0x72, 0xc1, 5, 2, 0xa0, 1, 'k', 0x43} // a binary key
	deep := []byte{0x45}
	for range 3000 {
		deep = append(append(binary.BigEndian.AppendUint32([]byte{0xd0}, uint32(len(deep)+4)), 0, 0, 0, 1), deep...)
	}
	tests := []struct {
		name, why string
		body      []byte
	}{
		{"disposition without end", "disposition of deliveries", []byte{0, 0x53, 0x15, 0xc0, 8, 3, 0x41, 0x43, 0x70, 0xff, 0xff, 0xff, 0xff}},
		{"map with a binary key", "map key", append([]byte{0, 0x53, 0x14, 0xc0, 8, 4, 0x52, 1, 0x43, 0xa0, 1, 't', 0x43}, annotation...)},
		{"deep nesting", "nested too deeply", append([]byte{0, 0x53, 0x14, 0xc0, 8, 4, 0x52, 1, 0x43, 0xa0, 1, 't', 0x43, 0, 0x53, 0x77}, deep...)},
		{"lists that lie", "truncated", []byte{0, 0x53, 0x13, 0xc0, 3, 9, 0x43, 0x43}},
		{"no performative", "without a performative", []byte{1, 2, 3, 4}},
		{"unknown performative", "unknown performative", []byte{0, 0x53, 0x7f, 0x45}},
		{"begin of its own", "not asked for", []byte{0, 0x53, 0x11, 0xc0, 5, 4, 0x40, 0x43, 0x43, 0x43}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, b *bed) {
				armed := false
				b.rewrite = func(f []byte) [][]byte {
					if armed && f[10] == 0x15 {
						return [][]byte{frame(f, tt.body...)}
					}
					return [][]byte{f}
				}
				c := b.dial(b.options())
				armed = true
				if o := send(t, c, 1); o.State != iothub.Unknown {
					t.Errorf("outcome %+v", o)
				}
				if e := want(t, ended(t, c, time.Second), iothub.ClassProtocol); !strings.Contains(e.Error(), tt.why) {
					t.Errorf("error %v, want one with %q", e, tt.why)
				}
			})
		})
	}
}

// An endless message is not gathered in memory.
func TestTrap09EndlessMessage(t *testing.T) {
	run(t, nil, func(t *testing.T, b *bed) {
		part := append([]byte{0, 0x53, 0x14, 0xc0, 10, 6, 0x52, 1, 0x43, 0xa0, 1, 't', 0x43, 0x40, 0x41, 0, 0x53, 0x75, 0xb0, 0x7f, 0xff, 0xff, 0xff}, make([]byte, 60000)...)
		armed := false
		b.rewrite = func(f []byte) [][]byte {
			if !armed || f[10] != 0x15 {
				return [][]byte{f}
			}
			var all [][]byte
			for range 100 {
				all = append(all, frame(f, part...))
			}
			return all
		}
		c := b.dial(b.options())
		armed = true
		if o := send(t, c, 1); o.State != iothub.Unknown {
			t.Errorf("outcome %+v", o)
		}
		if e := want(t, ended(t, c, time.Second), iothub.ClassProtocol); !strings.Contains(e.Error(), "exceeds") {
			t.Errorf("error %v", e)
		}
	})
}

// The limits of an OPEN that the library would calculate below zero with.
func TestOpenWithAbsurdLimits(t *testing.T) {
	for _, field := range []int{2, 4} { // max-frame-size, idle-time-out
		run(t, nil, func(t *testing.T, b *bed) {
			b.rewrite = func(f []byte) [][]byte {
				if f[10] == 0x10 {
					return [][]byte{withUint(f, field, 7)}
				}
				return [][]byte{f}
			}
			_, err := iothub.Dial(t.Context(), b.options())
			want(t, err, iothub.ClassProtocol)
		})
	}
}
