package simi2c

import "encoding/binary"

// Registers of the BMP280 (Bosch BST-BMP280-DS001, revision 1.26, section 4.2).
const (
	bmpCalib    = 0x88
	bmpID       = 0xd0
	bmpReset    = 0xe0
	bmpCtrlMeas = 0xf4
	bmpData     = 0xf7
)

// BMP280 is a pressure sensor. ID and Data may be changed within Adapter.Do.
type BMP280 struct {
	// ID is the chip id, 0x58 for a BMP280.
	ID byte
	// Data are the bytes of the next measurement, pressure and temperature.
	Data [6]byte

	reg [256]byte
	at  byte
}

// NewBMP280 returns a chip with the calibration and the measurement of the datasheet's example (section 3.12): 25.08 °C and 100 653 Pa.
func NewBMP280() *BMP280 {
	c := &BMP280{ID: 0x58, Data: [6]byte{0x65, 0x5a, 0xc0, 0x7e, 0xed, 0x00}} // 415148 and 519888
	c.reset()
	return c
}

// reset is what happens at power-on.
func (c *BMP280) reset() {
	c.reg = [256]byte{}
	for i, v := range []int16{27504, 26435, -1000, -29059 /* 36477 */, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000} {
		binary.LittleEndian.PutUint16(c.reg[bmpCalib+2*i:], uint16(v))
	}
	c.reg[bmpData], c.reg[bmpData+3] = 0x80, 0x80 // nothing measured
}

// Write takes a register, its value, and further pairs (section 5.2.1).
func (c *BMP280) Write(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	c.at = b[0]
	for rest := b; len(rest) > 1; rest = rest[2:] {
		c.set(rest[0], rest[1])
		if len(rest) == 2 {
			break
		}
	}
	return true
}

func (c *BMP280) set(reg, v byte) {
	switch {
	case reg == bmpReset && v == 0xb6:
		c.reset()
	case reg == bmpCtrlMeas:
		if v&3 != 0 {
			copy(c.reg[bmpData:], c.Data[:])
		}
		if v&3 != 3 { // forced mode: asleep again at once
			v &^= 3
		}
		c.reg[reg] = v
	case reg > 0xf4 && reg < bmpData: // config
		c.reg[reg] = v
	}
}

// Read gives one register after the other.
func (c *BMP280) Read(b []byte) bool {
	c.reg[bmpID] = c.ID
	for i := range b {
		b[i] = c.reg[c.at]
		c.at++
	}
	return true
}
