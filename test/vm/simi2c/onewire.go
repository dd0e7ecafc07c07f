package simi2c

// slave is a chip on a 1-Wire line, seen slot by slot.
type slave interface {
	// reset begins anew; the chip is present.
	reset()
	// slot takes the bit that the master writes, 1 also where it reads, and returns what the chip leaves of it: false pulls the line low.
	slot(bit bool) bool
}

// line is a 1-Wire line: what any slave pulls low is low.
type line []slave

// reset returns whether anybody is present.
func (l line) reset() bool {
	for _, s := range l {
		s.reset()
	}
	return len(l) > 0
}

func (l line) slot(bit bool) bool {
	level := bit
	for _, s := range l {
		if !s.slot(bit) {
			level = false
		}
	}
	return level
}

// crc8 is the checksum of 1-Wire: x⁸+x⁵+x⁴+1, lowest bit first.
func crc8(b []byte) (crc byte) {
	for _, x := range b {
		crc ^= x
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0x8c
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

// bitOf returns bit n of b, lowest bit of the first byte first.
func bitOf(b []byte, n int) bool { return b[n/8]>>(n%8)&1 != 0 }
