// Package crc8 is the checksum that many sensors put behind each word: eight bits, polynomial 0x31, initial value 0xFF, nothing reflected.
package crc8

// Sum returns the checksum of b; BE EF has 92 (Sensirion SHT4x datasheet, "Checksum Calculation").
func Sum(b []byte) byte {
	crc := byte(0xff)
	for _, x := range b {
		crc ^= x
		for range 8 {
			carry := crc & 0x80
			if crc <<= 1; carry != 0 {
				crc ^= 0x31
			}
		}
	}
	return crc
}
