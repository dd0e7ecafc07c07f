package bme280

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// calibration holds the words that each chip is given in the factory (table 16).
type calibration struct {
	t1         uint16
	t2, t3     int16
	p1         uint16
	p          [10]int16 // P2..P9 at their own numbers
	h1, h3     uint8
	h2, h4, h5 int16
	h6         int8
}

var errImplausible = errors.New("calibration words are implausible (wiring, or a worn-out clone)")

// parseCalibration decodes registers 0x88..0xA1 and, for a BME280, 0xE1..0xE7.
func parseCalibration(low []byte, high []byte) (calibration, error) {
	if allSame(low) || (len(high) > 0 && allSame(high)) {
		return calibration{}, errImplausible
	}
	word := func(i int) uint16 { return binary.LittleEndian.Uint16(low[i:]) }
	c := calibration{t1: word(0), t2: int16(word(2)), t3: int16(word(4)), p1: word(6)}
	for n := 2; n <= 9; n++ {
		c.p[n] = int16(word(4 + 2*n))
	}
	if c.t1 == 0 || c.t2 == 0 || c.p1 == 0 {
		return calibration{}, errImplausible
	}
	if len(high) == 0 {
		return c, nil
	}
	c.h1 = low[25]
	c.h2 = int16(binary.LittleEndian.Uint16(high))
	c.h3 = high[2]
	c.h4 = int16(int8(high[3]))<<4 | int16(high[4]&0x0f)
	c.h5 = int16(int8(high[5]))<<4 | int16(high[4]>>4)
	c.h6 = int8(high[6])
	if c.h2 == 0 {
		return calibration{}, errImplausible
	}
	return c, nil
}

// allSame reports whether every byte is 0x00 or every byte is 0xFF: a line that is stuck.
func allSame(b []byte) bool {
	for _, x := range b {
		if x != b[0] {
			return false
		}
	}
	return b[0] == 0x00 || b[0] == 0xff
}

// raw holds the numbers of one conversion.
type raw struct{ t, p, h int64 }

// What a channel reads that was not converted since the reset.
const (
	skipped20 = 0x80000
	skipped16 = 0x8000
)

// errBroken says that the data is that of a broken sensor; the formulas would make 0 or 100 % of it.
var errBroken = errors.New("the sensor is broken")

var errNotConverted = errors.New("no conversion took place (did the chip lose its power?)")

// parseRaw decodes the burst from register 0xF7: 8 bytes, or 6 without humidity.
func parseRaw(b []byte) (raw, error) {
	if allSame(b) {
		return raw{}, fmt.Errorf("every byte of the data is 0x%02x: the bus is stuck", b[0])
	}
	r := raw{
		p: int64(b[0])<<12 | int64(b[1])<<4 | int64(b[2])>>4,
		t: int64(b[3])<<12 | int64(b[4])<<4 | int64(b[5])>>4,
	}
	if r.p == skipped20 || r.t == skipped20 {
		return raw{}, errNotConverted
	}
	if len(b) >= 8 {
		switch r.h = int64(b[6])<<8 | int64(b[7]); r.h {
		case skipped16:
			return raw{}, errNotConverted
		case 0, math.MaxUint16:
			return raw{}, fmt.Errorf("humidity reads 0x%04x, an end of its scale: %w", r.h, errBroken)
		}
	}
	return r, nil
}

// temperature returns hundredths of a degree, and the fine value that the others need (4.2.3).
func (c *calibration) temperature(adc int64) (centi, fine int64) {
	t1, t2, t3 := int64(c.t1), int64(c.t2), int64(c.t3)
	a := (((adc >> 3) - (t1 << 1)) * t2) >> 11
	b := (adc >> 4) - t1
	b = (((b * b) >> 12) * t3) >> 14
	fine = a + b
	return (fine*5 + 128) >> 8, fine
}

var errNoPressure = errors.New("the calibration gives no pressure")

// pressure returns Pa × 256 (4.2.3, 64-bit variant).
func (c *calibration) pressure(adc, fine int64) (int64, error) {
	p := func(n int) int64 { return int64(c.p[n]) }
	v := fine - 128000
	w := v*v*p(6) + ((v * p(5)) << 17) + (p(4) << 35)
	v = ((v * v * p(3)) >> 8) + ((v * p(2)) << 12)
	v = (((1 << 47) + v) * int64(c.p1)) >> 33
	if v == 0 {
		return 0, errNoPressure
	}
	q := (((1048576 - adc) << 31) - w) * 3125 / v
	a := (p(9) * (q >> 13) * (q >> 13)) >> 25
	b := (p(8) * q) >> 19
	return ((q + a + b) >> 8) + (p(7) << 4), nil
}

// humidity returns percent × 1024, within 0..100 % as the datasheet has it (4.2.3). It is computed in 64 bits: the
// datasheet's 32 overflow for extreme calibrations.
func (c *calibration) humidity(adc, fine int64) int64 {
	x := fine - 76800
	a := ((adc << 14) - (int64(c.h4) << 20) - int64(c.h5)*x + 16384) >> 15
	b := (((x*int64(c.h6))>>10)*(((x*int64(c.h3))>>11)+32768))>>10 + 2097152
	x = a * ((b*int64(c.h2) + 8192) >> 14)
	x -= ((((x >> 15) * (x >> 15)) >> 7) * int64(c.h1)) >> 4
	return min(max(x, 0), 419430400) >> 12
}
